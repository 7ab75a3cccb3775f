package web

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/page"
)

// The forms of the pages: each changes something, and leads to a page.

// connectForm starts a flow from the page and leads to our consent page.
func (h *Connect) connectForm(w http.ResponseWriter, r *http.Request) error {
	p, err := h.pagePerson(w, r)
	if err == nil && !offers(p.Session, r.PathValue("name")) {
		err = flow.ErrServer
	}
	if err != nil {
		return err
	}
	params := map[string]string{}
	for name, values := range r.PostForm {
		if key, ok := strings.CutPrefix(name, page.ParameterPrefix); ok && len(values) == 1 {
			params[key] = strings.TrimSpace(values[0])
		}
	}
	f, err := h.Flows.Start(r.Context(), flow.StartRequest{
		Tenant: p.Tenant, UserID: p.User, Server: r.PathValue("name"), ReturnURL: p.Session.ReturnURL, Parameters: params,
		ConnectionID: r.PostForm.Get("connection_id"), AllowOtherAccount: r.PostForm.Get("allow_other_account") == "yes",
		Browser: p.Browser, Proven: proven(p),
	})
	if errors.Is(err, flow.ErrNoClient) {
		return h.toSetup(w, r, r.PathValue("name"))
	}
	if silent := new(flow.Unanswered); errors.As(err, &silent) {
		h.errorPage(w, r, h.describe(r, err), page.ErrorView{Actions: []page.Action{h.again(r), toServers}})
		return nil
	}
	if err != nil {
		return err
	}
	http.Redirect(w, r, "/c/"+f.ID, http.StatusSeeOther)
	return nil
}

// again sends the form of a server's card once more, or leads back to where it was
// filled in.
func (h *Connect) again(r *http.Request) page.Action {
	a := page.Action{Label: "Try again", URL: r.URL.Path, Post: true}
	for name := range r.PostForm {
		switch {
		case name == "connection_id" && r.PostForm.Get(name) != "":
			return page.Action{Label: a.Label, URL: connectionPath(r.PostForm.Get(name))}
		case strings.HasPrefix(name, page.ParameterPrefix):
			a = page.Action{Label: a.Label, URL: "/mcp/servers?server=" + url.QueryEscape(r.PathValue("name"))}
		}
	}
	return a
}

// pagePerson is person for a form of one of our pages.
func (h *Connect) pagePerson(w http.ResponseWriter, r *http.Request) (Principal, error) {
	if err := h.form(w, r); err != nil {
		return Principal{}, err
	}
	return h.person(w, r)
}

func (h *Connect) renameForm(w http.ResponseWriter, r *http.Request) error {
	return h.changeForm(w, r, func(form url.Values) (func(*connection.Connection), error) { return relabel(form.Get("label")) })
}

// offerForm takes the tools that the page showed and those that are ticked.
// Where only some were allowed, that stays so: what a server adds later is not
// offered. Else it is, and what is not ticked is denied, beside what was denied
// before unless that is ticked now: the page does not show all that a name with a
// * stands for.
func (h *Connect) offerForm(w http.ResponseWriter, r *http.Request) error {
	return h.changeForm(w, r, func(form url.Values) (func(*connection.Connection), error) {
		var denied []string
		for _, name := range form["shown"] {
			if !slices.Contains(form["offer"], name) {
				denied = append(denied, name)
			}
		}
		only, err := offerTools(form["offer"], nil)
		if err != nil {
			return nil, err
		}
		if _, err := offerTools(nil, denied); err != nil {
			return nil, err
		}
		if len(form["offer"]) == 0 {
			only, err = offerTools(nil, []string{"*"}) // an empty list would allow all
		}
		if err != nil {
			return nil, err
		}
		return func(c *connection.Connection) {
			if len(c.Tools.Allow) > 0 {
				only(c)
				return
			}
			kept := slices.DeleteFunc(slices.Clone(c.Tools.Deny), func(pattern string) bool {
				return slices.ContainsFunc(form["offer"], func(name string) bool { return !connection.ToolFilter{Deny: []string{pattern}}.Offers(name) })
			})
			if f, err := connection.NewToolFilter(nil, slices.Concat(denied, kept)); err == nil { // else nothing changes, which the page shows
				c.Tools = f
			}
		}, nil
	})
}

func (h *Connect) changeForm(w http.ResponseWriter, r *http.Request, read func(url.Values) (func(*connection.Connection), error)) error {
	p, err := h.pagePerson(w, r)
	if err != nil {
		return err
	}
	change, err := read(r.PostForm)
	if err != nil {
		return err
	}
	if _, err := h.change(r.Context(), p, r.PathValue("id"), change); err != nil {
		return err
	}
	http.Redirect(w, r, connectionPath(r.PathValue("id")), http.StatusSeeOther)
	return nil
}
