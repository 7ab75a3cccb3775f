// Package tokenfile is how the MCP servers that we ship get the access token that
// they are given: as a variable, or from a file that whoever renews it replaces.
package tokenfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Source returns what gives the current access token, of two variables: value
// names the one that holds the token, file the one that holds the path of a file
// with {"access_token": …}. One of them has to be set.
//
// The file is read anew for each call: nothing is asked, nobody listens, and the
// process and its clients' sessions go on, which neither a broker nor a restart
// has for so little.
func Source(getenv func(string) string, value, file string) (func() (string, error), error) {
	token, path := getenv(value), getenv(file)
	switch {
	case token != "" && path != "":
		return nil, fmt.Errorf("set %s or %s, not both", value, file)
	case path != "":
		return func() (string, error) { return read(path) }, nil
	case token != "":
		return func() (string, error) { return token, nil }, nil
	}
	return nil, fmt.Errorf("%s (a file with {\"access_token\": …}) or %s is required", file, value)
}

// errContent keeps the file's content out of errors.
var errContent = errors.New("it holds no JSON with an access_token")

func read(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read the access token: %w", err)
	}
	var file struct {
		AccessToken string `json:"access_token"`
	}
	if json.Unmarshal(data, &file) != nil || file.AccessToken == "" {
		return "", fmt.Errorf("read the access token of %s: %w", path, errContent)
	}
	return file.AccessToken, nil
}
