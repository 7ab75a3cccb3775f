package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lanyardhq/lanyard/internal/client"
)

// The exit codes, which the root command's help lists.
const (
	exitOK = iota
	exitFailed
	exitUsage
	exitUnreachable
	exitUnauthorised
	exitNotFound
)

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// report says what went wrong, on the command's standard error, and returns
// the exit code.
func (c *cli) report(cmd *cobra.Command, err error) int {
	if err == nil {
		return exitOK
	}
	// Before the start they are cobra's, which gives them no type.
	if !c.started || errors.Is(err, client.ErrName) {
		err = usageError{err}
	}
	w := cmd.ErrOrStderr()
	var refused *client.Error
	if errors.As(err, &refused) {
		c.reportRefusal(w, refused)
		return exitCode(err)
	}
	if errors.Is(err, context.Canceled) {
		err = errors.New("interrupted")
	}
	for i, line := range strings.Split(err.Error(), "\n") {
		if i == 0 {
			line = "lanyard: " + line
		}
		fmt.Fprintln(w, printable(line))
	}
	if hint := hintFor(cmd, err); hint != "" {
		fmt.Fprintln(w, hint)
	}
	return exitCode(err)
}

func (c *cli) reportRefusal(w io.Writer, refused *client.Error) {
	if c.json {
		_ = json.NewEncoder(w).Encode(refused)
		return
	}
	fmt.Fprintln(w, printable(refused.Error()))
	if hint := firstOf(commandHints[refused.Code], refused.Hint); hint != "" {
		fmt.Fprintln(w, printable(hint))
	}
}

// commandHints stand in for the API's own, where these speak of a page or of
// fields and there is a command, or a flag.
var commandHints = map[string]string{
	"connection_unknown":   "It may have been disconnected: \"lanyard connections list\" shows those that there are.",
	"server_unknown":       "\"lanyard servers\" lists them.",
	"invalid_redirect_uri": "Correct --redirect, as the client's documentation has it. One with a scheme of its own has to be in LANYARD_OAUTH_REDIRECTS, or in a deployment's oauth_redirects.",
}

func hintFor(cmd *cobra.Command, err error) string {
	var usage usageError
	var atAWS awsError
	var atDrill drillError
	switch {
	case errors.As(err, &atAWS):
		return atAWS.hint
	case errors.As(err, &atDrill):
		return atDrill.hint
	case errors.As(err, &usage):
		return fmt.Sprintf("Run %q for its options and examples.", cmd.CommandPath()+" --help")
	case errors.Is(err, client.ErrUnreachable):
		return "Start it with \"lanyard dev\", or name another with --url or LANYARD_URL."
	case errors.Is(err, client.ErrNotLanyard):
		return "Another program may listen there: name Lanyard's URL with --url or LANYARD_URL."
	case errors.Is(err, errNoKey):
		return "Set LANYARD_API_KEY. A server on this machine keeps its key in the directory that LANYARD_DATA names, once it was started."
	}
	return ""
}

func exitCode(err error) int {
	var usage usageError
	var refused *client.Error
	var atAWS awsError
	var atDrill drillError
	switch {
	case errors.As(err, &atAWS):
		return atAWS.code
	case errors.As(err, &atDrill):
		return atDrill.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.Is(err, client.ErrUnreachable):
		return exitUnreachable
	case errors.Is(err, errNoKey):
		return exitUnauthorised
	case !errors.As(err, &refused):
		return exitFailed
	}
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden:
		return exitUnauthorised
	case http.StatusNotFound:
		return exitNotFound
	}
	return exitFailed
}
