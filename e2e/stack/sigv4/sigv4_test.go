package sigv4

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestVerify: what was signed passes, and nothing of it may be changed.
func TestVerify(t *testing.T) {
	t.Parallel()
	creds := aws.Credentials{AccessKeyID: "ASIAEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}
	const body = `{"task_id":"tsk_1"}`
	for name, c := range map[string]struct {
		change func(*http.Request)
		want   string
	}{
		"untouched":       {func(*http.Request) {}, ""},
		"unsigned":        {func(r *http.Request) { r.Header.Del("Authorization") }, "not signed"},
		"another body":    {func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.ReplaceAll(body, "1", "2"))) }, "does not match"},
		"another path":    {func(r *http.Request) { r.URL.Path += "x" }, "does not match"},
		"another query":   {func(r *http.Request) { r.URL.RawQuery = "a=b" }, "does not match"},
		"another method":  {func(r *http.Request) { r.Method = "PUT" }, "does not match"},
		"another host":    {func(r *http.Request) { r.Host = "other.example" }, "does not match"},
		"another session": {func(r *http.Request) { r.Header.Set("X-Amz-Security-Token", "x") }, "token is missing"},
		"an old one":      {func(r *http.Request) { r.Header.Set("X-Amz-Date", "20200101T000000Z") }, "not of now"},
		"another service": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "execute-api", "ecs", 1))
		}, "does not fit"},
		"an unsigned host": {func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "host;", "", 1))
		}, "host is not signed"},
	} {
		r := httptest.NewRequest("POST", "http://api.example/prod/tasks/v1/claim", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		sum := sha256.Sum256([]byte(body))
		if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hex.EncodeToString(sum[:]), "execute-api", "eu-central-1", time.Now()); err != nil {
			t.Fatal(err)
		}
		if AccessKey(r) != "ASIAEXAMPLE" {
			t.Errorf("%s: access key %q", name, AccessKey(r))
		}
		c.change(r)
		err := Verify(r, creds, "execute-api")
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
