package provider

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parse reads a body as JSON or as a form, whatever its Content-Type says:
// providers mislabel both. It returns nil for anything else, HTML above all.
func parse(body []byte, format string) any {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\xef\xbb\xbf")))
	if len(body) == 0 {
		return nil
	}
	if format != "form" && (format == "json" || body[0] == '{' || body[0] == '[') {
		return parseJSON(body)
	}
	if body[0] == '<' || !bytes.ContainsRune(body, '=') {
		return nil
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	doc := map[string]any{}
	for name := range values {
		doc[name] = values.Get(name)
	}
	return doc
}

func parseJSON(body []byte) any {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // ids and lifetimes keep their digits
	var doc any
	if decoder.Decode(&doc) != nil {
		return nil
	}
	if _, err := decoder.Token(); err != io.EOF {
		return nil
	}
	return doc
}

// lookup follows keys and array indices joined by dots; nil when there is
// nothing.
func lookup(doc any, path string) any {
	if path == "" || path == "." {
		return doc
	}
	for key := range strings.SplitSeq(path, ".") {
		switch node := doc.(type) {
		case map[string]any:
			doc = node[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(node) {
				return nil
			}
			doc = node[i]
		default:
			return nil
		}
	}
	return doc
}

// text is a scalar as text.
func text(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, v != ""
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	}
	return "", false
}

// texts are the scalars of a value or of a list.
func texts(value any) []string {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var out []string
	for _, item := range list {
		if s, ok := text(item); ok {
			out = append(out, s)
		}
	}
	return out
}

func orPaths(paths []string, otherwise string) []string {
	if len(paths) == 0 {
		return []string{otherwise}
	}
	return paths
}

// firstText is the first path that leads to a scalar.
func firstText(doc any, paths []string) string {
	for _, path := range paths {
		if s, ok := text(lookup(doc, path)); ok {
			return s
		}
	}
	return ""
}

// maxLifetime is the longest lifetime that is believed, and keeps times printable.
const maxLifetime = 10 * 365 * 24 * time.Hour

// expiry reads a lifetime in seconds or, failing that, a time. It is zero when
// neither is there or makes sense: 0, a negative or past value, more than
// maxLifetime and nonsense all mean that the provider named no lifetime. A
// token of a thousand years is a mistake of units, or means one without an end:
// either way the provider's file knows better when to renew it.
func expiry(doc any, in, at []string, now time.Time) time.Time {
	for _, path := range in {
		if d := seconds(lookup(doc, path)); d > 0 {
			return now.Add(d)
		}
	}
	for _, path := range at {
		if t := instant(lookup(doc, path)); t.After(now) && t.Sub(now) <= maxLifetime {
			return t
		}
	}
	return time.Time{}
}

func seconds(value any) time.Duration {
	n, ok := number(value)
	if !ok || n <= 0 || n > maxLifetime.Seconds() {
		return 0
	}
	return time.Duration(n * float64(time.Second))
}

func number(value any) (float64, bool) {
	s, ok := text(value)
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	return n, err == nil && !math.IsNaN(n) && !math.IsInf(n, 0)
}

// instant reads RFC 3339 text, Unix seconds or Unix milliseconds, which the
// size tells apart: as seconds, 1e11 is in the year 5138.
func instant(value any) time.Time {
	if n, ok := number(value); ok {
		if n >= 1e11 {
			n /= 1000
		}
		if n <= 0 || n >= 1e11 {
			return time.Time{}
		}
		return time.Unix(int64(n), 0)
	}
	s, _ := text(value)
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05.999999999-0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}

// maxScopes is how many scopes of a reply are kept: they lie in the row, which
// must stay one that can be stored and read.
const maxScopes = 500

// scopes reads a list or a separated string; known is false when there is
// none.
func scopes(value any, separator string) (list []string, known bool) {
	switch v := value.(type) {
	case string:
		for part := range strings.SplitSeq(v, separator) {
			list = append(list, strings.Fields(part)...)
		}
	case []any:
		list = texts(v)
	}
	list = slices.DeleteFunc(list, func(s string) bool { return len(s) > 256 || strings.ContainsFunc(s, notScopeChar) })
	return list[:min(maxScopes, len(list))], len(list) > 0
}
