package front

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
)

// gatewayKind is something that API Gateway answers by itself, worded as the
// deployment has it.
type gatewayKind struct {
	status            int
	code, description string
}

var (
	unauthorized               = gatewayKind{401, "invalid_token", "the bearer is missing, unknown, expired or for another server"}
	missingAuthenticationToken = gatewayKind{404, "not_found", "there is nothing at this address"}
	invalidAPIKey              = gatewayKind{403, "forbidden", "this address is not for use from outside"}
	accessDenied               = gatewayKind{403, "refused", "the request cannot be served"}
	requestTooLarge            = gatewayKind{413, "refused", "the request cannot be served"}
	authorizerFailure          = gatewayKind{500, "unavailable", "something went wrong on our side"}
	integrationFailure         = gatewayKind{502, "unavailable", "something went wrong on our side"}
	integrationTimedOut        = gatewayKind{504, "unavailable", "something went wrong on our side"}
)

// gatewayResponse answers; UNAUTHORIZED has the header that the edge made.
func gatewayResponse(w http.ResponseWriter, r *http.Request, k gatewayKind) {
	if k == unauthorized {
		w.Header().Set("WWW-Authenticate", r.Header.Get(challengeHeader))
		w.Header().Set("Cache-Control", "no-store")
	}
	respond(w, k.status, map[string]string{"error": k.code, "error_description": k.description, "hint": "Try again."})
}

func respond(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // the client has gone if this fails
}

// remapped are headers that API Gateway renames when an integration sends them.
var remapped = []string{"Www-Authenticate", "Server", "Date", "Connection", "Content-Md5", "Expect", "Host", "Max-Forwards", "Proxy-Authenticate", "Trailer", "Upgrade", "Warning"}

func copyHeaders(to http.Header, single map[string]string, multi map[string][]string) {
	for name, value := range single {
		to.Set(name, value)
	}
	for name, values := range multi {
		to[http.CanonicalHeaderKey(name)] = values
	}
	for _, name := range remapped {
		if v, ok := to[name]; ok {
			delete(to, name)
			to[http.CanonicalHeaderKey("x-amzn-remapped-"+name)] = v
		}
	}
}

// prelude ends a streamed answer's status and header.
var prelude = make([]byte, 8)

const maxPrelude = 64 << 10

// streamed passes on an answer while it is made. After the header an error can
// only break the connection off.
func streamed(w http.ResponseWriter, r *http.Request, f Function, payload []byte) error {
	resp, err := f.Invoke(r.Context(), payload)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.ContentType != "application/vnd.awslambda.http-integration-response" {
		return errors.New("the function does not stream: " + resp.ContentType)
	}
	body := bufio.NewReader(resp.Body)
	var head []byte
	for !bytes.HasSuffix(head, prelude) {
		c, err := body.ReadByte()
		if err != nil || len(head) > maxPrelude {
			return errors.New("the answer has no header")
		}
		head = append(head, c)
	}
	var out struct {
		StatusCode        int                 `json:"statusCode"`
		Headers           map[string]string   `json:"headers"`
		MultiValueHeaders map[string][]string `json:"multiValueHeaders"`
		Cookies           []string            `json:"cookies"`
	}
	if err := json.Unmarshal(bytes.TrimSuffix(head, prelude), &out); err != nil || out.StatusCode == 0 {
		return errors.New("the answer's header is malformed")
	}
	copyHeaders(w.Header(), out.Headers, out.MultiValueHeaders)
	for _, c := range out.Cookies {
		w.Header().Add("Set-Cookie", c)
	}
	w.WriteHeader(out.StatusCode)
	flush := http.NewResponseController(w)
	buf := make([]byte, 32<<10)
	for {
		_ = flush.Flush()
		n, err := body.Read(buf)
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return nil // the client has gone
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return http.ErrAbortHandler
		}
	}
}
