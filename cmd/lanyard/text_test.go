package main

import (
	"os"
	"strings"
	"testing"
	"unicode"

	"github.com/spf13/cobra"
)

func TestPrintable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, in, want string }{
		{"plain", "Zoë's 日本 drive, 100% <ok>", "Zoë's 日本 drive, 100% <ok>"},
		{"colour", "\x1b[31mred\x1b[0m", "[31mred[0m"},
		{"title", "\x1b]0;owned\a", "]0;owned"},
		{"C1 introducer", "\u009b2J", "2J"},
		{"lines", "a\r\nb\tc\vd", "a  b c d"},
		{"direction", "a\u202eb\u2066c\u200fd", "abcd"},
		{"invisible", "a\u200bb\ufeffc\u00add", "abcd"},
		{"line separators", "a\u2028b\u2029c\u0085d\u00a0e", "a b c d e"},
		{"not UTF-8", "a\xff\xc3b", "ab"},
		{"backspace", "a\b\x7fb", "ab"},
	} {
		if got := printable(tc.in); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add("\x1b[31mred\u202e\xff")
	f.Fuzz(func(t *testing.T, in string) {
		got := printable(in)
		if bad := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); bad >= 0 {
			t.Errorf("%q: %q is left at %d", in, got, bad)
		}
		if printable(got) != got {
			t.Errorf("%q: a second time changes it", in)
		}
	})
}

// A cell must not move what stands beside it.
func TestTableKeepsItsColumns(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	tab := newTable(&out)
	tab.row("A", "B", "C")
	tab.row("1\t2\n3", "", " ")
	if err := tab.flush(); err != nil {
		t.Fatal(err)
	}
	if want := "A      B  C\n1 2 3  -  -\n"; out.String() != want {
		t.Errorf("%q, want %q", out.String(), want)
	}
}

// Every command that people call says what it does, and shows how.
func TestHelpHasExamples(t *testing.T) {
	t.Parallel()
	c := &cli{getenv: os.Getenv}
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Hidden {
			return
		}
		if cmd.Short == "" || !strings.Contains(cmd.Example, cmd.CommandPath()) && cmd.HasParent() {
			t.Errorf("%s has no description or no example of itself", cmd.CommandPath())
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(c.root())
}
