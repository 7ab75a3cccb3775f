package main

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/joho/godotenv"
)

// dotEnv is what the file .env in the working directory sets; nothing if there
// is none. The environment goes before it.
func dotEnv() (map[string]string, error) {
	set, err := godotenv.Read()
	var file *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.As(err, &file):
		return nil, fmt.Errorf("the file .env cannot be read: %w", err)
	case err != nil: // it quotes the file, which holds secrets
		return nil, errors.New("the file .env cannot be read: one of its lines is not NAME=value, or a quote in it does not end")
	}
	return set, nil
}
