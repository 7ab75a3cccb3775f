package notify

import (
	"errors"
	"net"
	"net/http"
	"testing"

	"github.com/lanyardhq/lanyard/internal/provider"
)

// TestTransport: where a name leads into a private network, or to this machine,
// the connection is refused as it is made.
func TestTransport(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for _, local := range []bool{false, true} {
		dial := (&Service{AllowLoopback: local}).http().Transport.(*http.Transport).DialContext
		for _, address := range []string{"10.0.0.7:443", "169.254.169.254:80", "[fd00:ec2::254]:443"} {
			if _, err := dial(t.Context(), "tcp", address); !errors.Is(err, provider.ErrForbiddenAddress) {
				t.Errorf("%s: %v", address, err)
			}
		}
		conn, err := dial(t.Context(), "tcp", ln.Addr().String())
		if local && err != nil || !local && !errors.Is(err, provider.ErrForbiddenAddress) {
			t.Errorf("this machine, which is allowed: %v: %v", local, err)
		}
		if conn != nil {
			conn.Close()
		}
	}
}
