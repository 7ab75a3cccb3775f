package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/joho/godotenv"
)

// dotEnv is what the file .env in the working directory sets; nothing if there
// is none. The environment goes before it.
func dotEnv() (map[string]string, error) {
	data, err := os.ReadFile(".env")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("the file .env cannot be read: %w", err)
	}
	set, err := godotenv.UnmarshalBytes(data)
	if err != nil { // it quotes the file, which holds secrets
		return nil, fmt.Errorf("the file .env cannot be read: line %d is not NAME=value, or a quote in it does not end", badLine(data))
	}
	return set, nil
}

// badLine is the line at which what cannot be read begins: the one after as many
// as can be.
func badLine(data []byte) int {
	lines := bytes.SplitAfter(data, []byte("\n"))
	for n := len(lines) - 1; n > 0; n-- {
		if _, err := godotenv.UnmarshalBytes(bytes.Join(lines[:n], nil)); err == nil {
			return n + 1
		}
	}
	return 1
}
