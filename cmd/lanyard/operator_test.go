package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// Whatever AWS refuses, the operator learns what to do, and the exit code says
// of which kind it is.
func TestExplain(t *testing.T) {
	t.Parallel()
	api := func(code string) error {
		return fmt.Errorf("%w: operation error KMS: Decrypt: %w", connection.ErrUnavailable, &smithy.GenericAPIError{Code: code, Message: "because"})
	}
	for name, test := range map[string]struct {
		err        error
		code       int
		text, hint string
	}{
		"denied":      {api("AccessDeniedException"), exitUnauthorised, "AWS does not allow it", hintAccess},
		"foreign":     {api("UnrecognizedClientException"), exitUnauthorised, "AWS does not allow it", hintAccess},
		"expired":     {api("ExpiredTokenException"), exitUnauthorised, "credentials have expired", hintSettings},
		"throttled":   {api("ThrottlingException"), exitFailed, "because", hintLater},
		"unreachable": {&net.OpError{Op: "dial", Err: errors.New("no route")}, exitUnreachable, "AWS cannot be reached", "Check the network"},
		"ours":        {errors.New("ours"), exitFailed, "ours", ""},
	} {
		err := explain(test.err, "lanyard")
		if exitCode(err) != test.code || !strings.Contains(err.Error(), test.text) || !strings.Contains(hintFor(nil, err), test.hint) {
			t.Errorf("%s: %v, exit %d, hint %q", name, err, exitCode(err), hintFor(nil, err))
		}
	}
	if err := explain(context.Canceled, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}
