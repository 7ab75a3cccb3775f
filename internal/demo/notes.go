package demo

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of the notes API.
const (
	maxNoteRunes = 2000
	maxNotes     = 200 // of one account
)

type noteList struct {
	Notes []note `json:"notes"`
}

// bearer lets a request through to next, with the account that it is about,
// if it carries an access token of the scope (RFC 6750).
func (p *Provider) bearer(scope string, next func(http.ResponseWriter, *http.Request, account)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			// Who brings no token is told no error code (RFC 6750 §3.1).
			w.Header().Set("WWW-Authenticate", `Bearer realm="demo"`)
			writeRefusal(w, &refusal{http.StatusUnauthorized, "unauthorized", "an access token is required"})
			return
		}
		var who account
		var valid, allowed bool
		now := p.now()
		p.store.view(func(s state) {
			t, found := s.Access[hash(strings.TrimSpace(token))]
			if found && now.Before(t.Expires) {
				who, valid = accountOf(s.Grants[t.Grant].Account)
				allowed = slices.Contains(t.Scopes, scope)
			}
		})
		switch {
		case !valid:
			w.Header().Set("WWW-Authenticate", `Bearer realm="demo", error="invalid_token", error_description="the access token is unknown, expired or revoked"`)
			writeRefusal(w, &refusal{http.StatusUnauthorized, "invalid_token", "the access token is unknown, expired or revoked"})
		case !allowed:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="demo", error="insufficient_scope", scope=%q`, scope))
			writeRefusal(w, &refusal{http.StatusForbidden, "insufficient_scope", "this needs the scope " + scope})
		default:
			next(w, r, who)
		}
	}
}

func (p *Provider) userinfo(w http.ResponseWriter, _ *http.Request, who account) {
	writeJSON(w, http.StatusOK, who)
}

func (p *Provider) listNotes(w http.ResponseWriter, _ *http.Request, who account) {
	list := noteList{Notes: []note{}}
	p.store.view(func(s state) { list.Notes = append(list.Notes, s.Notes[who.Sub]...) })
	writeJSON(w, http.StatusOK, list)
}

func (p *Provider) addNote(w http.ResponseWriter, r *http.Request, who account) {
	text, refused := readNote(w, r)
	if refused != nil {
		writeRefusal(w, refused)
		return
	}
	var added note
	now := p.now()
	err := p.store.change(now, func(s *state) bool {
		if len(s.Notes[who.Sub]) >= maxNotes {
			refused = &refusal{http.StatusConflict, "too_many_notes", fmt.Sprintf("an account holds %d notes: delete one first", maxNotes)}
			return false
		}
		added = s.addNote(who.Sub, text, now)
		return true
	})
	switch {
	case err != nil:
		p.writeFailure(w, r, err)
	case refused != nil:
		writeRefusal(w, refused)
	default:
		writeJSON(w, http.StatusCreated, added)
	}
}

func readNote(w http.ResponseWriter, r *http.Request) (string, *refusal) {
	var in struct {
		Text string `json:"text"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return "", refuse("invalid_request", "the body cannot be read or is too long")
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return "", refuse("invalid_request", `the body must be JSON: {"text": "…"}`)
	}
	text := strings.TrimSpace(in.Text)
	if n := utf8.RuneCountInString(text); n == 0 || n > maxNoteRunes {
		return "", refuse("invalid_request", fmt.Sprintf("text must have 1 to %d characters", maxNoteRunes))
	}
	return text, nil
}

func (p *Provider) deleteNote(w http.ResponseWriter, r *http.Request, who account) {
	var found bool
	err := p.store.change(p.now(), func(s *state) bool {
		kept := slices.DeleteFunc(slices.Clone(s.Notes[who.Sub]), func(n note) bool { return n.ID == r.PathValue("id") })
		found = len(kept) < len(s.Notes[who.Sub])
		s.Notes[who.Sub] = kept
		return found
	})
	switch {
	case err != nil:
		p.writeFailure(w, r, err)
	case !found:
		writeRefusal(w, &refusal{http.StatusNotFound, "not_found", "there is no such note: list the notes to see their ids"})
	default:
		w.WriteHeader(http.StatusNoContent)
	}
}
