package flow

// Error is a way in which a flow can fail. Its code is stable: it stands in
// JSON answers, in a flow's result and in the page's address of help.
type Error struct {
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Message }

// The ways to fail. Where a cause is known it is wrapped beside the sentinel.
var (
	ErrLinkUnknown    = &Error{"link_unknown", "this connect link does not exist"}
	ErrLinkExpired    = &Error{"link_expired", "this connect link has expired"}
	ErrLinkClaimed    = &Error{"link_claimed", "this connect link was already opened in another browser"}
	ErrTenant         = &Error{"tenant_unknown", "this tenant does not exist"}
	ErrNoSession      = &Error{"sign_in_required", "this browser is not signed in"}
	ErrFlowUnknown    = &Error{"flow_unknown", "this connection attempt does not exist"}
	ErrFlowExpired    = &Error{"flow_expired", "this connection attempt has expired"}
	ErrFlowClaimed    = &Error{"flow_other_browser", "this connection attempt was started in another browser"}
	ErrFlowEnded      = &Error{"flow_ended", "this connection attempt has already ended"}
	ErrNotConfirmable = &Error{"flow_not_pending", "this connection attempt is not waiting for a confirmation"}
	ErrFlowOther      = &Error{"flow_other_person", "this was asked of somebody else"}
	ErrOtherUser      = &Error{"flow_other_user", "this connection attempt belongs to another user"}

	ErrStateUnknown = &Error{"state_unknown", "the state is not one of ours"}
	ErrStateExpired = &Error{"state_expired", "the state has expired"}
	ErrStateUsed    = &Error{"state_used", "the state was used before"}
	ErrStateBrowser = &Error{"state_other_browser", "the state belongs to another browser"}
	ErrCallback     = &Error{"callback_invalid", "the provider's answer is malformed"}
	ErrIssuer       = &Error{"issuer_mismatch", "the answer does not come from the provider that was asked"}

	ErrDenied       = &Error{"access_denied", "access was not granted"}
	ErrProvider     = &Error{"provider_error", "the provider answered with an error"}
	ErrProviderDown = &Error{"provider_unavailable", "the provider could not be reached or is out of order"}
	ErrTimeout      = &Error{"exchange_timeout", "the provider did not answer in time"}
	ErrCode         = &Error{"code_refused", "the provider refused the authorization code"}
	ErrClient       = &Error{"client_misconfigured", "the provider does not accept our client"}
	ErrNoClient     = &Error{"client_missing", "no client is registered at the provider"}
	ErrMoved        = &Error{"client_moved", "the provider's client is registered elsewhere now"}
	ErrDiscovery    = &Error{"discovery_failed", "the server does not say who grants access to it"}
	ErrOtherAccount = &Error{"other_account", "another account was chosen than the one to reconnect"}
	ErrAccount      = &Error{"account_unknown", "the provider did not say which account was chosen"}
	ErrNoPlace      = &Error{"place_missing", "the account has access to no place there"}
	ErrPlace        = &Error{"place_unknown", "access was not granted to this place"}
	ErrStore        = &Error{"store_unavailable", "the connection could not be stored"}

	ErrServer     = &Error{"server_unknown", "there is no such server"}
	ErrAuthType   = &Error{"auth_type_mismatch", "this server is not connected in this way"}
	ErrConnection = &Error{"connection_unknown", "there is no such connection"}
	ErrParameter  = &Error{"parameter_invalid", "a parameter is missing or not allowed"}
	ErrScope      = &Error{"scope_invalid", "a scope is malformed"}
	ErrReturnURL  = &Error{"return_url_not_allowed", "this return_url is not on the tenant's list"}

	// ErrChanged: the record was written by somebody else since it was read.
	ErrChanged = &Error{"conflict", "the record has changed; try again"}
	// ErrExists: a record of that key is there already.
	ErrExists = &Error{"conflict", "the record exists already"}
)
