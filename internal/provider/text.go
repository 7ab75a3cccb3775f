package provider

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxDescription = 300
	maxCode        = 64
	maxRetryAfter  = 24 * time.Hour
)

// Clean makes text that came from a provider fit for a person: control and
// formatting characters out, 300 characters at most.
func Clean(text string) string { return CleanTo(text, maxDescription) }

// CleanTo is Clean of at most that many characters.
func CleanTo(text string, most int) string { return clean(text, most, nil) }

// clean makes a provider's text fit for a person: secrets out, control and
// formatting characters out, bounded in runes.
func clean(text string, limit int, secrets []string) string {
	text = strings.Map(func(r rune) rune { // first, so that nothing invisible splits a secret
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, ""))
	for _, secret := range secrets {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[redacted]")
		}
	}
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > limit {
		text = string(runes[:limit-1]) + "…"
	}
	return text
}

// retryAfter reads the header (RFC 9110 §10.2.3), seconds or a date.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var d time.Duration
	if seconds, err := strconv.ParseUint(value, 10, 32); err == nil {
		d = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(value); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), maxRetryAfter)
}
