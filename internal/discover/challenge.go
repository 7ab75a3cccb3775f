package discover

import "strings"

// challenge reads the parameters of the first Bearer challenge (RFC 6750 §3, RFC
// 9110 §11.6.1), by their names in lower case. Of a name that comes twice, the
// first counts.
func challenge(headers []string) map[string]string {
	var bearer map[string]string
	current := ""
	for _, part := range parts(strings.Join(headers, ", ")) {
		if scheme, rest, ok := opens(part); ok {
			if bearer != nil {
				return bearer // the next challenge is another
			}
			current, part = strings.ToLower(scheme), rest
			if current == "bearer" {
				bearer = map[string]string{}
			}
		}
		name, value, ok := strings.Cut(part, "=")
		name = strings.ToLower(strings.TrimSpace(name))
		if current != "bearer" || !ok || bearer[name] != "" {
			continue
		}
		bearer[name] = unquoted(strings.TrimSpace(value))
	}
	return bearer
}

// parts splits at the commas outside of quotes.
func parts(header string) []string {
	var out []string
	begin, quoted := 0, false
	for i := 0; i < len(header); i++ {
		switch c := header[i]; {
		case quoted && c == '\\':
			i++ // RFC 9110 §5.6.4: quoted-pair
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			out, begin = append(out, strings.TrimSpace(header[begin:i])), i+1
		}
	}
	return append(out, strings.TrimSpace(header[begin:]))
}

// opens reports whether a part begins a challenge: a scheme, then nothing or a
// space and no equals sign.
func opens(part string) (scheme, rest string, ok bool) {
	scheme, rest, _ = strings.Cut(part, " ")
	rest = strings.TrimSpace(rest)
	return scheme, rest, scheme != "" && !strings.Contains(scheme, "=") && !strings.HasPrefix(rest, "=")
}

func unquoted(value string) string {
	inner, ok := strings.CutPrefix(value, `"`)
	if !ok {
		return value
	}
	inner = strings.TrimSuffix(inner, `"`)
	var b strings.Builder
	for i := 0; i < len(inner); i++ {
		if inner[i] == '\\' && i+1 < len(inner) {
			i++
		}
		b.WriteByte(inner[i])
	}
	return b.String()
}
