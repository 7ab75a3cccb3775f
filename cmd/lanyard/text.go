package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/lanyardhq/lanyard/internal/client"
)

// printable makes text of a server, a provider or a preset fit for a terminal:
// one line, without the control and formatting characters that could move the
// cursor, recolour, or turn the direction of what stands beside it.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsPrint(r):
			return r
		case unicode.IsSpace(r):
			return ' '
		}
		return -1
	}, strings.ToValidUTF8(s, ""))
}

// table collects rows of hostile cells and aligns them.
type table struct{ tab *tabwriter.Writer }

func newTable(w io.Writer) table {
	return table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
}

// row adds a row; an empty cell is shown as a dash.
func (t table) row(cells ...string) {
	for i, cell := range cells {
		if cell = printable(cell); strings.TrimSpace(cell) == "" {
			cell = "-"
		}
		cells[i] = cell
	}
	fmt.Fprintln(t.tab, strings.Join(cells, "\t")) // Flush returns what fails
}

func (t table) flush() error { return t.tab.Flush() }

// moment is a time in the person's own zone; nil is "".
func moment(t *time.Time) string {
	if t == nil || t.IsZero() {
		return ""
	}
	return t.Local().Format("2006-01-02 15:04 MST")
}

// raw prints an answer as it came, for --json.
func raw(w io.Writer, a client.Answer) error {
	_, err := fmt.Fprintln(w, strings.TrimRight(a.Raw.Reveal(), "\n"))
	return err
}
