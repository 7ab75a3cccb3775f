package upstream

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

var (
	// A space makes these plain text: HTML's tags, and Markdown's images, which
	// a client that renders the answer would fetch from anywhere.
	tag   = regexp.MustCompile(`<([A-Za-z/!?])`)
	lines = regexp.MustCompile(`\n{3,}`)
)

// Plain is somebody's text as it may be shown: without what cannot be seen or
// turns the reading around, without HTML's tags and images, and without the words
// by which Lanyard knows a dead token, which would have the call made again. At
// most so many characters of it.
func Plain(s string, most int) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n', r == '\t':
			return r
		case r == '\u2028', r == '\u2029':
			return '\n'
		// Cc, and Cf: marks of direction, zero widths, tags; selectors that carry text.
		case unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co), r >= 0xE0100 && r <= 0xE01EF:
			return -1
		}
		return r
	}, s)
	s = lines.ReplaceAllString(strings.TrimSpace(s), "\n\n")
	s = tag.ReplaceAllString(strings.ReplaceAll(s, "![", "! ["), "< $1")
	s = strings.ReplaceAll(s, refusedMark, strings.ReplaceAll(refusedMark, "_", " "))
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + " […]"
}

// Line is plain text on one line.
func Line(s string, most int) string {
	return Plain(strings.Join(strings.Fields(s), " "), most)
}

// Quote sets text apart, so that no line of it looks like one of ours.
func Quote(b *strings.Builder, indent, s string) {
	if s != "" {
		b.WriteString("\n" + indent + "> " + strings.ReplaceAll(s, "\n", "\n"+indent+"> "))
	}
}
