package demo

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRestartKeepsEverything(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "data", "demo.json"))
	tokens := s.connect()
	spent := s.connect()
	s.tokens(renewForm(spent.RefreshToken))
	used := s.code("profile")
	fromUsed := s.tokens(redeemForm(used))
	fresh := s.code("profile")
	page := s.open(authQuery())
	s.api("POST", "/notes", tokens.AccessToken, `{"text":"survives"}`)

	s.restart()

	s.wantAPI(http.StatusOK, tokens.AccessToken)
	var list noteList
	s.api("GET", "/notes", tokens.AccessToken, "").json(t, &list)
	if len(list.Notes) != 4 || list.Notes[3].Text != "survives" {
		t.Errorf("notes after the restart: %+v", list.Notes)
	}
	s.tokens(renewForm(tokens.RefreshToken))
	s.tokens(redeemForm(fresh))
	if got := s.decideWith(url.Values{"consent": {page}, "account": {"ada"}, "scope": {"profile"}, "decision": {"allow"}}).sentBack(t); got.Get("code") == "" {
		t.Error("the open consent page did not survive")
	}
	s.wantError(s.post("/token", renewForm(spent.RefreshToken)), http.StatusBadRequest, "invalid_grant")
	s.wantError(s.post("/token", redeemForm(used)), http.StatusBadRequest, "invalid_grant")
	if a := s.api("GET", "/userinfo", fromUsed.AccessToken, ""); a.StatusCode != http.StatusUnauthorized {
		t.Error("a code replayed after the restart did not revoke")
	}

	// Deleted sample notes stay deleted.
	for _, n := range list.Notes {
		s.api("DELETE", "/notes/"+n.ID, tokens.AccessToken, "")
	}
	s.restart()
	var empty noteList
	s.api("GET", "/notes", tokens.AccessToken, "").json(t, &empty)
	if len(empty.Notes) != 0 {
		t.Errorf("%d deleted notes came back", len(empty.Notes))
	}
}

func TestFileHoldsNoSecret(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "demo.json"))
	page := s.open(authQuery())
	value := s.code("profile")
	tokens := s.tokens(redeemForm(value))
	data, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{"consent token": page, "code": value, "access token": tokens.AccessToken,
		"refresh token": tokens.RefreshToken, "verifier": testVerifier, "client secret": "s3cret"} {
		if strings.Contains(string(data), secret) {
			t.Errorf("the file holds the %s in clear", name)
		}
	}
	info, err := os.Stat(s.file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", info.Mode().Perm())
	}
}

func TestDamagedFileIsReported(t *testing.T) {
	t.Parallel()
	for name, content := range map[string]string{"empty": "", "cut off": `{"version":1,"codes":{`, "newer": `{"version":2}`} {
		path := filepath.Join(t.TempDir(), "demo.json")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := openStore(path, time.Now())
		if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "move the file away") {
			t.Errorf("%s: %v", name, err)
		}
		if data, err := os.ReadFile(path); err != nil || string(data) != content {
			t.Errorf("%s: the damaged file was touched", name)
		}
	}
}

// When the file cannot be written, nothing is issued and nothing is spent.
func TestFailedSaveChangesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t, filepath.Join(t.TempDir(), "demo.json"))
	tokens := s.connect()
	value := s.code("profile")
	page := s.open(authQuery())
	before, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	block := s.file + ".new" // a directory where the new file should go
	if err := os.Mkdir(block, 0o700); err != nil {
		t.Fatal(err)
	}

	s.wantError(s.post("/token", renewForm(tokens.RefreshToken)), http.StatusInternalServerError, "server_error")
	s.wantError(s.post("/token", redeemForm(value)), http.StatusInternalServerError, "server_error")
	s.wantError(s.post("/revoke", url.Values{"token": {tokens.AccessToken}}), http.StatusInternalServerError, "server_error")
	s.wantError(s.api("POST", "/notes", tokens.AccessToken, `{"text":"x"}`), http.StatusInternalServerError, "server_error")
	s.wantError(s.api("DELETE", "/notes/1", tokens.AccessToken, ""), http.StatusInternalServerError, "server_error")
	for name, a := range map[string]answer{
		"page":     s.do(s.browser, "GET", s.url+"/authorize?"+authQuery().Encode(), ""),
		"decision": s.decideWith(url.Values{"consent": {page}, "account": {"ada"}, "scope": {"profile"}, "decision": {"allow"}}),
	} {
		if a.StatusCode != http.StatusInternalServerError || !strings.Contains(a.body, "Make room on the disk") {
			t.Errorf("%s: %d", name, a.StatusCode)
		}
	}
	if after, err := os.ReadFile(s.file); err != nil || string(after) != string(before) {
		t.Error("the file changed")
	}
	if err := os.Remove(block); err != nil {
		t.Fatal(err)
	}
	s.tokens(renewForm(tokens.RefreshToken))
	s.tokens(redeemForm(value))
	if _, err := New(Config{BaseURL: s.url, ClientID: "a", ClientSecret: "b", RedirectURIs: []string{testRedirect},
		DataFile: filepath.Join(s.file, "below-a-file.json")}); err == nil {
		t.Error("an impossible data file was accepted at the start")
	}
}

func TestSaveErrorIsNamed(t *testing.T) {
	t.Parallel()
	s := &store{path: filepath.Join(t.TempDir(), "missing", "demo.json"), state: newState(time.Now())}
	if err := s.change(time.Now(), func(*state) bool { return true }); !errors.Is(err, errSave) {
		t.Errorf("error %v, want errSave", err)
	}
}

// writerEnv makes the test binary a child that writes until it is killed.
const writerEnv = "DEMO_TEST_WRITE_FOREVER"

func TestWriteForever(t *testing.T) {
	path := os.Getenv(writerEnv)
	if path == "" {
		return // only as the child of TestKilledWhileWriting
	}
	s, err := openStore(path, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	for {
		now := time.Now()
		var last string
		if err := s.change(now, func(st *state) bool {
			st.Notes["ada"] = nil
			last = st.addNote("ada", strings.Repeat("x", 64<<10), now).ID
			return true
		}); err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("saved " + last + "\n")
	}
}

// Killed at any moment, the file is whole and holds what was last reported.
func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "demo.json")
	for round := range 8 {
		cmd := exec.Command(os.Args[0], "-test.run=^TestWriteForever$")
		cmd.Env = append(os.Environ(), writerEnv+"="+path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		var last string
		for n := 0; lines.Scan(); n++ {
			if id, ok := strings.CutPrefix(lines.Text(), "saved "); ok {
				last = id
			}
			if n == round {
				_ = cmd.Process.Kill() // what it still wrote is read on
			}
		}
		_ = cmd.Wait() // killed
		s, err := openStore(path, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		s.view(func(st state) {
			notes := st.Notes["ada"]
			if last == "" || len(notes) != 1 || len(notes[0].Text) != 64<<10 {
				t.Fatalf("round %d: a half-written state was kept", round)
			}
			if got, reported := json.Number(notes[0].ID), json.Number(last); !atLeast(t, got, reported) {
				t.Errorf("round %d: note %s on disk, but %s was reported as saved", round, got, reported)
			}
		})
	}
}

func atLeast(t *testing.T, a, b json.Number) bool {
	t.Helper()
	x, err := a.Int64()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.Int64()
	if err != nil {
		t.Fatal(err)
	}
	return x >= y
}
