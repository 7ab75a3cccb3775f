package main

import "testing"

// TestBadLine: what cannot be read of a .env is found by its line.
func TestBadLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]int{
		"A B C\nX=1\n":                        1,
		"X=1\n# a note\n\nA B-C\nY=2\n":       4,
		"X=1\r\nA-B=2\r\nY=2":                 2,
		"X=\"two\nlines\"\nA-B\n":             3,
		"X=1\nY=\"begun\nZ=3\nand no end\n":   2,
		"X=1\nexport Y='begun\n\nZ=3\n# more": 2,
	} {
		if got := badLine([]byte(text)); got != want {
			t.Errorf("%q: line %d, want %d", text, got, want)
		}
	}
}
