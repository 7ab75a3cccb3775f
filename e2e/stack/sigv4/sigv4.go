// Package sigv4 checks signatures as AWS does, for what stands in for AWS in
// the tests: the request is signed once more, with the secret that belongs to
// its access key, and has to come out the same.
package sigv4

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// skew is how far a signature's time may be from ours.
const skew = 5 * time.Minute

// AccessKey returns the id of the access key that signed the request; "" if it
// is not signed.
func AccessKey(r *http.Request) string {
	f, err := parse(r.Header.Get("Authorization"))
	if err != nil {
		return ""
	}
	return strings.Split(f["Credential"], "/")[0]
}

// Verify reports why the request was not signed for service with the
// credentials; nil if it was. The body can be read again afterwards.
func Verify(r *http.Request, c aws.Credentials, service string) error {
	fields, err := parse(r.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	scope := strings.Split(fields["Credential"], "/") // key/date/region/service/aws4_request
	if len(scope) != 5 || scope[0] != c.AccessKeyID || scope[3] != service || scope[4] != "aws4_request" {
		return fmt.Errorf("the credential's scope does not fit: %s", strings.Join(scope[min(1, len(scope)):], "/"))
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > skew {
		return fmt.Errorf("the signature is not of now: %q", r.Header.Get("X-Amz-Date"))
	}
	if got := r.Header.Get("X-Amz-Security-Token"); c.SessionToken != "" && got != c.SessionToken {
		return errors.New("the session's token is missing or another's")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	again, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	signed := strings.Split(fields["SignedHeaders"], ";")
	for _, must := range []string{"host", "x-amz-date"} {
		if !slices.Contains(signed, must) {
			return fmt.Errorf("the header %s is not signed", must)
		}
	}
	for _, name := range signed {
		if v := r.Header.Values(name); len(v) > 0 && name != "content-length" {
			again.Header[http.CanonicalHeaderKey(name)] = v
		}
	}
	sum := sha256.Sum256(body)
	if err := v4.NewSigner().SignHTTP(context.Background(), c, again, hex.EncodeToString(sum[:]), service, scope[2], at); err != nil {
		return err
	}
	want, err := parse(again.Header.Get("Authorization"))
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare([]byte(want["Signature"]), []byte(fields["Signature"])) != 1 {
		return errors.New("the signature does not match")
	}
	return nil
}

// parse takes AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…
func parse(header string) (map[string]string, error) {
	rest, ok := strings.CutPrefix(header, "AWS4-HMAC-SHA256 ")
	if !ok {
		return nil, errors.New("the request is not signed")
	}
	out := map[string]string{}
	for _, part := range strings.Split(rest, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		out[name] = value
	}
	return out, nil
}
