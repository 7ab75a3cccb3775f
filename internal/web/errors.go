package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lanyardhq/lanyard/internal/authserver"
	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/flow"
	"github.com/lanyardhq/lanyard/internal/host"
	"github.com/lanyardhq/lanyard/internal/notify"
	"github.com/lanyardhq/lanyard/internal/page"
	"github.com/lanyardhq/lanyard/internal/provider"
	"github.com/lanyardhq/lanyard/internal/refresh"
	"github.com/lanyardhq/lanyard/internal/signin"
	"github.com/lanyardhq/lanyard/internal/task"
	"github.com/lanyardhq/lanyard/internal/vault"
)

// Problem is an error as the world may see it: safe text, a stable code, and
// what to do next.
type Problem struct {
	Status  int
	Code    string
	Heading string
	Message string
	// Next says what to do.
	Next string
	// Told: the heading tells a person what Message tells a program.
	Told bool
	// Detail is what somebody else said; it may be hostile text.
	Detail     string
	RetryAfter time.Duration
}

func (p *Problem) Error() string { return p.Message }

// ErrUnauthorized: the API key is none of ours, or none any more.
var ErrUnauthorized = &Problem{Status: 401, Code: "unauthorized", Heading: "Not signed in", Message: "this API key is not valid", Next: whereKeysAre}

const whereKeysAre = "On one machine the key lies in the data directory, in the file api-key. A deployment's outputs name the command that fetches it."

var (
	errNoKey = &Problem{Status: 401, Code: "unauthorized", Heading: "Not signed in",
		Message: "this call needs an API key: Authorization: Bearer KEY", Next: whereKeysAre}
	errForbidden = &Problem{Status: 403, Code: "forbidden", Heading: "Not yours",
		Message: "this session may act for its own user only", Next: "Leave user_id out, or sign in as that user."}
	errCrossSite = &Problem{Status: 403, Code: "cross_site", Heading: "That did not come from this page",
		Message: "the request was not sent by one of our own pages",
		Next:    "Go back, reload the page and try again. Cookies must be allowed."}
	errNotFound = &Problem{Status: 404, Code: "not_found", Heading: "Nothing here", Message: "there is nothing at this address",
		Next: "Check the address, or start from your servers."}
)

func badRequest(message, next string) *Problem {
	if next == "" {
		next = "Correct it and try again."
	}
	return &Problem{Status: 400, Code: "invalid_request", Heading: "That cannot be done", Message: message, Next: next}
}

// known gives each error that can reach a handler its face. The first that
// matches wins.
var known = []struct {
	err     error
	status  int
	heading string
	next    string
}{
	{flow.ErrLinkUnknown, 404, "This link does not work", "Check that it was copied whole, or ask for a new one where you got it."},
	{flow.ErrLinkExpired, 410, "This link has expired", "Ask for a new one where you got it."},
	{flow.ErrLinkClaimed, 403, "This link was opened in another browser", "It works in the browser that opened it first. Continue there, or ask for a new link where you got it."},
	{flow.ErrTenant, 404, "There is no such tenant", "Whoever runs this lists them with lanyard tenants list."},
	{flow.ErrNoSession, 401, "You are not signed in", "Start from your servers, where it says how to sign in; or open your connect link again."},
	{flow.ErrFlowUnknown, 404, "This page is no longer valid", "If you were connecting a service, start again from your servers, or from the application that sent you here."},
	{flow.ErrFlowExpired, 410, "This took too long", "Nothing was changed. Start connecting again."},
	{flow.ErrFlowClaimed, 403, "This was started in another browser", "Continue in the browser where you started, or start again here."},
	{flow.ErrFlowEnded, 409, "This is already finished", "Look at your servers to see how it ended, or start connecting again."},
	{flow.ErrNotConfirmable, 409, "There is nothing to confirm", "An attempt can be confirmed for ten minutes after it was granted. Start a new one."},
	{flow.ErrFlowOther, 403, "This was asked of somebody else", "Nothing was changed. If somebody sent you this address, close the page. If your own MCP client showed it, sign in as the person who uses that client."},
	{flow.ErrOtherUser, 403, "This belongs to another user", "Confirm with the user that the attempt was started for. If your session shows another one, do not confirm."},
	{flow.ErrStateUnknown, 400, "We did not ask for this", "This page is the end of connecting a service, and this one was not begun here. Start connecting again."},
	{flow.ErrStateExpired, 410, "This took too long", "Nothing was changed. Start connecting again; you have ten minutes at the provider."},
	{flow.ErrStateUsed, 409, "This was already finished", "The answer of the provider works once. Look at your servers: the connection may be there."},
	{flow.ErrStateBrowser, 403, "This was started in another browser", "Continue in the browser where you started, or start again here. If somebody sent you this address, close the page."},
	{flow.ErrCallback, 400, "The provider's answer was malformed", "Nothing was changed. Start connecting again."},
	{flow.ErrIssuer, 400, "This answer came from somebody else", "Nothing was changed. Start connecting again; if it happens again, tell whoever runs this."},
	{flow.ErrDenied, 403, "Access was not granted", "Nothing was changed. You can try again whenever you like."},
	{flow.ErrTimeout, 504, "The provider did not answer", "Start connecting again. The answer that was lost cannot be used a second time, so nothing is half done."},
	{flow.ErrCode, 502, "The provider took its grant back", "Start connecting again."},
	{flow.ErrClient, 502, "The provider does not accept this installation", "This is for whoever runs Lanyard: check the client id, the secret and the redirect URI at the provider."},
	{flow.ErrNoClient, 409, "One step is missing", "Whoever runs Lanyard has to register it at the provider first."},
	{flow.ErrMoved, 409, "The provider is elsewhere now", "Nothing was sent. Start connecting again."},
	{flow.ErrDiscovery, 502, "This server cannot be connected", "The detail says what the server lacks: it is for whoever runs it, or for whoever wrote its preset."},
	{flow.ErrOtherAccount, 409, "That was another account", "Nothing was changed. Reconnect and choose the same account, or connect the other one beside it."},
	{flow.ErrAccount, 502, "Whose account was that?", "The provider did not tell, so it could not be compared with the account to reconnect. Nothing was changed. Try again in a moment."},
	{flow.ErrNoPlace, 409, "There is nothing to connect", "Nothing was changed. Choose an account that has access there, or have somebody let this one in, and connect again."},
	{flow.ErrPlace, 400, "Pick one of them", "Go back to the list and pick one that is on it."},
	{flow.ErrProviderDown, 502, "The provider is out of order", "Nothing was changed. Try again in a few minutes."},
	{flow.ErrProvider, 502, "The provider answered with an error", "Start connecting again. If it happens again, the detail below tells whoever runs this what to look at."},
	{flow.ErrStore, 503, "The connection could not be saved", "What was granted was given back. Try again in a moment."},
	{flow.ErrServer, 404, "There is no such server", "Choose one from the list."},
	{flow.ErrAuthType, 409, "This server is connected in another way", "Use the form on its card."},
	{flow.ErrConnection, 404, "There is no such connection", "It may have been disconnected. Look at your servers."},
	{flow.ErrParameter, 400, "Something is missing", "Correct the value and try again."},
	{flow.ErrScope, 400, "A scope is malformed", "Scopes are names without spaces (RFC 6749 §3.3)."},
	{flow.ErrReturnURL, 400, "This address is not allowed", "On one machine, set LANYARD_RETURN_URLS and start Lanyard again. A deployment's operator sets the tenant's whole list with \"lanyard tenants set TENANT --return-url URL\"."},
	{flow.ErrChanged, 409, "Somebody else was faster", "Reload and try again."},
	{flow.ErrExists, 409, "This was done before", "Use another Idempotency-Key for another request."},
	{signin.ErrUnknown, 404, "This sign-in does not exist", "Sign in again from where you started."},
	{signin.ErrExpired, 410, "This took too long", "Sign in again: you have ten minutes."},
	{signin.ErrUsed, 409, "This was already finished", "If you are not signed in, sign in again from where you started."},
	{signin.ErrBrowser, 403, "This was begun in another browser", "Sign in again here. If somebody sent you this address, close the page."},
	{signin.ErrProof, 403, "That proves nothing", "Sign in again from where you started."},
	{signin.ErrOtherUser, 403, "This belongs to another user", "A sign-in is of one user: let the person begin another one."},
	{signin.ErrMethod, 409, "Not in this way", "Begin again at your servers: the page says how people sign in here."},
	{signin.ErrReturn, 400, "This address is not allowed", "Start from your servers."},
	{signin.ErrIssuerDown, 502, "Where you sign in is out of order", "Try again in a few minutes. If it goes on, tell whoever runs this."},
	{signin.ErrToken, 502, "Who was that?", "Sign in again. If it happens again, the detail tells whoever runs this what to look at."},
	{signin.ErrNotAllowed, 403, "This account may not come in", "Sign in again with another account, or ask whoever runs this to let yours in."},
	{provider.ErrTarget, 409, "This provider cannot be used like this", "This is for whoever runs Lanyard: the detail says what has to change."},
	{connection.ErrNotFound, 404, "There is no such connection", "It may have been disconnected. Look at your servers."},
	{connection.ErrCursor, 400, "This list cannot be continued", "Start from its beginning."},
	{connection.ErrUnavailable, 503, "Try again in a moment", "Nothing is lost. If it goes on, tell whoever runs this."},
	{connection.ErrGone, 409, "This is being disconnected", "Connect again in a moment."},
	{refresh.ErrReconnect, 409, "This needs to be reconnected", "The provider no longer accepts the access. Reconnect it: everything else stays as it is."},
	{task.ErrReconnect, 409, "This needs to be reconnected", "The provider no longer accepts the access. Reconnect it: everything else stays as it is."},
	{refresh.ErrPending, 409, "This is not confirmed yet", "The application that you came from has to confirm it."},
	{refresh.ErrBusy, 503, "One moment", "Somebody else is changing this connection. Try again in a few seconds."},
	{host.ErrStarting, 503, "The server is starting", "The first start can take a minute, because its program is installed. Try again in a moment."},
	{host.ErrLost, 502, "The server went away", "Nobody knows whether it did what it was asked. Look, then try again: it is started anew if need be."},
	{host.ErrRemoteScope, 409, "More access is needed", "Reconnect it, and grant what the detail names."},
	{host.ErrRemote, 502, "The remote server gave no answer", "Try again in a moment. If it goes on, whoever runs Lanyard looks at the server's preset."},
	{host.ErrTooLong, 504, "That took too long", "Nobody knows whether it was done. Look before you ask again, and for less at once."},
	{host.ErrNoStream, 405, "That cannot be done", "Send messages by POST; each answer comes with its own request."},
	{host.ErrServerFailed, 502, "The server did not start", "Try again; if it fails again, reconnecting gives it a fresh token."},
	{host.ErrNotHosted, 409, "This server does not run here", "Use its token instead."},
	{host.ErrNotConnected, 409, "This is not connected", "Connect it again."},
	{host.ErrNoToken, 401, "This MCP token is not valid", "Make a new one on the connection's page."},
	{notify.ErrNoEndpoint, 409, "There is no webhook", "A deployment's operator sets one with \"lanyard webhooks set URL\"; functions know it within a minute. On one machine, set LANYARD_WEBHOOK_URL and start Lanyard again."},
	{notify.ErrTrying, 409, "The webhook is being tried already", "Wait for the trial that is under way: 15 seconds at most."},
	{notify.ErrRefused, 502, "The webhook was refused", "Look at the endpoint's own log: any answer but a 2xx is a refusal, and redirects are not followed. If it checks signatures, compare the signing secret."},
	{notify.ErrUnreachable, 502, "The webhook cannot be delivered", "The endpoint must answer within 15 seconds at a public https address."},
	{authserver.ErrNoRequest, 404, "This sign-in is not known here", "It may have ended, taken longer than half an hour, or been started in another browser. Start again in your MCP client."},
	{authserver.ErrSpent, 409, "This has been answered", "Go back to your MCP client. If it still waits, start again there."},
	{authserver.ErrNoClient, 404, "This client is not known", "It may have been removed, or what it publishes of itself cannot be read. Start again in your MCP client."},
	{authserver.ErrChanged, 409, "Somebody else was faster", "Reload and try again."},
	{authserver.ErrExists, 409, "This was done before", "Use another Idempotency-Key for another request."},
	{authserver.ErrTooMany, 503, "Try again in a moment", "More came at once than are let in. Nothing was changed."},
	{vault.ErrForbidden, 403, "Not yours", "Use a connection of your own."},
	{vault.ErrAudit, 503, "Try again in a moment", "The audit could not be written, so nothing was handed out."},
	{vault.ErrSealed, 409, "The stored access cannot be opened", "Its key or its row was changed. Reconnect it."},
	{task.ErrRefused, 403, "Refused", "This is for the tasks that Lanyard starts: a task is bound to one connection, until it stops."},
	{context.DeadlineExceeded, 504, "That took too long", "Try again in a moment."},
}

// codes of errors that have none of their own.
var codes = []struct {
	err  error
	code string
}{
	{provider.ErrTarget, "provider_unusable"},
	{connection.ErrNotFound, "connection_unknown"},
	{connection.ErrCursor, "cursor_invalid"},
	{connection.ErrGone, "connection_deleting"},
	{connection.ErrUnavailable, "storage_unavailable"},
	{refresh.ErrReconnect, "reconnect_needed"},
	{task.ErrReconnect, "reconnect_needed"},
	{refresh.ErrPending, "connection_pending"},
	{refresh.ErrBusy, "connection_busy"},
	{host.ErrStarting, "server_starting"},
	{host.ErrLost, "server_lost"},
	{host.ErrRemoteScope, "scope_needed"},
	{host.ErrRemote, "remote_failed"},
	{host.ErrTooLong, "request_too_long"},
	{host.ErrNoStream, "method_not_allowed"},
	{host.ErrServerFailed, "server_failed"},
	{host.ErrNotHosted, "server_not_hosted"},
	{host.ErrNotConnected, "not_connected"},
	{host.ErrNoToken, "invalid_token"},
	{notify.ErrNoEndpoint, "webhook_missing"},
	{notify.ErrTrying, "webhook_busy"},
	{notify.ErrRefused, "webhook_refused"},
	{notify.ErrUnreachable, "webhook_unreachable"},
	{authserver.ErrNoRequest, "request_unknown"},
	{authserver.ErrSpent, "request_ended"},
	{authserver.ErrNoClient, "client_unknown"},
	{authserver.ErrChanged, "conflict"},
	{authserver.ErrExists, "conflict"},
	{authserver.ErrTooMany, "busy"},
	{vault.ErrForbidden, "forbidden"},
	{vault.ErrAudit, "audit_unavailable"},
	{vault.ErrSealed, "sealed_set_unreadable"},
	{task.ErrRefused, "refused"},
	{context.DeadlineExceeded, "timeout"},
}

// quiet are errors that say enough, or whose causes are the operator's
// business: they may name files, addresses or a database's own words.
var quiet = []error{
	connection.ErrUnavailable, flow.ErrDenied, flow.ErrStore, vault.ErrAudit, vault.ErrForbidden, vault.ErrSealed, task.ErrRefused,
	host.ErrLost, refresh.ErrBusy, context.DeadlineExceeded,
}

// selfEvident are errors whose heading says to a person all that their message
// does: a page does not say it twice.
var selfEvident = []error{
	flow.ErrLinkUnknown, flow.ErrLinkExpired, flow.ErrLinkClaimed, flow.ErrTenant, flow.ErrNoSession, flow.ErrFlowUnknown, flow.ErrFlowExpired,
	flow.ErrFlowClaimed, flow.ErrFlowEnded, flow.ErrFlowOther, flow.ErrOtherUser, flow.ErrStateUnknown, flow.ErrStateExpired, flow.ErrStateUsed,
	flow.ErrStateBrowser, flow.ErrCallback, flow.ErrIssuer, flow.ErrDenied, flow.ErrProvider, flow.ErrTimeout, flow.ErrStore, flow.ErrServer, flow.ErrAuthType,
	flow.ErrConnection, flow.ErrScope, signin.ErrUnknown, signin.ErrExpired, signin.ErrUsed, signin.ErrBrowser, signin.ErrNotAllowed, provider.ErrTarget,
	connection.ErrNotFound, connection.ErrGone, refresh.ErrReconnect, task.ErrReconnect, refresh.ErrPending, host.ErrStarting, host.ErrServerFailed,
	host.ErrNotHosted, host.ErrNoToken, notify.ErrTrying, context.DeadlineExceeded,
}

// problemOf is the one place where an error becomes a status, a code and safe
// text. What it does not know is told to the log and not to the world.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	var refused *authserver.Error
	if errors.As(err, &refused) {
		return face(refused)
	}
	var down *refresh.Unavailable
	if errors.As(err, &down) {
		return &Problem{Status: 503, Code: "token_unavailable", Heading: "The access could not be renewed for now",
			Message: "the access token has expired and the provider does not renew it right now", Detail: down.Failure.Detail,
			Next: "It is tried again by itself. Try again in a moment.", RetryAfter: down.RetryAfter}
	}
	var silent *flow.Unanswered
	if errors.As(err, &silent) {
		return &Problem{Status: http.StatusBadGateway, Code: flow.ErrProviderDown.Code, Heading: silent.Server + " cannot be connected right now",
			Message: silent.Why(), Next: "Nothing was changed. Check the network of the machine that Lanyard runs on, then try again."}
	}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		return &Problem{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large", Heading: "That is too large",
			Message: fmt.Sprintf("the body is larger than %d bytes", tooLarge.Limit), Next: "Send less at once."}
	}
	for _, k := range known {
		if !errors.Is(err, k.err) {
			continue
		}
		out := &Problem{Status: k.status, Heading: k.heading, Message: k.err.Error(), Next: k.next, Told: slices.Contains(selfEvident, k.err)}
		if detail := err.Error(); detail != out.Message && !slices.Contains(quiet, k.err) {
			out.Detail = detail
		}
		var named *flow.Error
		if errors.As(k.err, &named) {
			out.Code = named.Code
		}
		for _, c := range codes {
			if c.err == k.err {
				out.Code = c.code
			}
		}
		if out.Status == http.StatusServiceUnavailable {
			out.RetryAfter = 2 * time.Second
		}
		var failed *host.Failure
		if errors.As(err, &failed) {
			out.RetryAfter = failed.RetryAfter
		}
		return out
	}
	return nil
}

// problem answers a request that failed: JSON for programs, a page for people.
func (s *Site) problem(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil && errors.Is(err, context.Canceled) {
		return // nobody is there to be answered
	}
	p := s.describe(r, err)
	if wantsJSON(r) {
		s.problemJSON(w, p)
		return
	}
	v := page.ErrorView{}
	if silent := new(flow.Unanswered); errors.As(err, &silent) {
		v.Actions = []page.Action{{Label: "Try again", URL: r.URL.RequestURI()}, toServers}
	}
	s.errorPage(w, r, p, v)
}

// toServers leads on from a page that leads nowhere else.
var toServers = page.Action{Label: "Your servers", URL: "/mcp/servers"}

// describe finds the error's face, and logs what has none.
func (s *Site) describe(r *http.Request, err error) *Problem {
	if p := problemOf(err); p != nil {
		if p.Detail == "" && err.Error() != p.Message {
			level := slog.LevelInfo
			if errors.Is(err, connection.ErrUnavailable) || errors.Is(err, vault.ErrAudit) {
				level = slog.LevelError // for the operator: the cause names the call that failed
			}
			s.Logger.Log(r.Context(), level, "request refused", "route", r.Pattern, "code", p.Code, "err", err)
		}
		return p
	}
	s.Logger.ErrorContext(r.Context(), "request failed", "method", r.Method, "route", r.Pattern, "err", err)
	return &Problem{Status: 500, Code: "internal_error", Heading: "Something went wrong on our side",
		Message: "the request failed on our side", Next: "Try again in a moment. If it happens again, the log says more."}
}

func (s *Site) problemJSON(w http.ResponseWriter, p *Problem) {
	s.retryAfter(w, p)
	if p.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="lanyard"`)
	}
	body := struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
		Hint        string `json:"hint,omitempty"`
	}{p.Code, p.Message, p.Next}
	if p.Detail != "" {
		body.Description = p.Detail
	}
	writeJSON(w, p.Status, body)
}

func (s *Site) retryAfter(w http.ResponseWriter, p *Problem) {
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(p.RetryAfter.Seconds()+0.999)))
	}
}

// errorPage shows the problem; v may bring actions and the popup's address.
func (s *Site) errorPage(w http.ResponseWriter, r *http.Request, p *Problem, v page.ErrorView) {
	s.retryAfter(w, p)
	v.Chrome = s.chrome(w, r, p.Heading)
	v.Code, v.Heading, v.Message, v.Next, v.Detail = p.Code, p.Heading, sentence(p.Message), p.Next, p.Detail
	if p.Told || v.Message == sentence(v.Heading) {
		v.Message = "" // the heading says it all
	}
	if len(v.Actions) == 0 {
		v.Actions = []page.Action{toServers}
	}
	s.render(w, r, p.Status, v)
}

func sentence(s string) string {
	if s == "" {
		return ""
	}
	b := []byte(s)
	first, _, _ := strings.Cut(s, " ")
	if b[0] >= 'a' && b[0] <= 'z' && !strings.Contains(first, ".") { // a host's name stays as it is
		b[0] -= 'a' - 'A'
	}
	if last := b[len(b)-1]; last != '.' && last != '?' && last != '!' {
		b = append(b, '.')
	}
	return string(b)
}

// chrome is what every page has around it.
func (s *Site) chrome(w http.ResponseWriter, r *http.Request, title string) page.Chrome {
	_, secret := s.browser(w, r)
	c := page.Chrome{Title: title, CSRF: csrf(secret), Local: s.Local}
	if ses, err := s.Sessions.Session(r.Context(), s.cookie(r, "session"), s.known(r)); err == nil {
		c.User, c.Person, c.CanSignOut = ses.UserID, ses.Name, ses.Proven
	}
	return c
}

// render writes a page with the headers that every page has. Forms may lead to
// the given origins beside our own.
func (s *Site) render(w http.ResponseWriter, r *http.Request, status int, v page.View, formAction ...string) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", page.CSP(formAction...))
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: that would make the Origin of our own forms null.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := s.Pages.Render(w, v); err != nil {
		s.Logger.ErrorContext(r.Context(), "page not rendered", "err", err)
	}
}
