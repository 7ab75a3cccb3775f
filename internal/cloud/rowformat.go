package cloud

import "github.com/lanyardhq/lanyard/internal/dense"

// rowFormat packs the document of a connection. Rows that were packed with a
// dictionary open with that one only, so this one never changes: what is new
// comes into a second format, and rows of the first are still read.
var rowFormat = dense.New(1, rowDictionary)

// rowDictionary is what rows have in common: the words that a few have first,
// and last a whole row as most are, with the times and ids left out.
const rowDictionary = `"variant":"eu","parameters":{"shop":"","host":"instance_url":"https://"},"label":"` +
	`"proposal":{"flow_id":"flo_","confirm_by":"2026-Z","set":{"retired":[{"set":{"granted":{"account":{` +
	`"failure":{"verdict":"transient","provider_down","rate_limited","timeout","invalid_grant","code":"internal_error","detail":"` +
	`the token could not be renewed because of a fault on this side; it is tried again","at":"2026-Z","count":1},"retry_at":"2026-Z",` +
	`"events":[{"id":"evt_","type":"connection.expiring","connection.health_changed","at":"2026-Z","health":"ok","was":"` +
	`client_misconfigured","scope_lost","reconnect_needed","reason":"","published":true,"tries":1,"next_at":"2026-Z"}],` +
	`"ends_at":"2026-Z","notice_at":"2026-Z","end_announced":"2026-Z","refresh_expires_at":"2027-Z","refresh_fixed":true,` +
	`"status":"pending","deleting","auth_type":"api_key","secretsmanager","local",` +
	`"github","slack","notion","linear","atlassian","hubspot","salesforce","microsoft","google-calendar","google-sheets","gmail",` +
	`"read:user","repo","chat:write","users:read","channels:read","channels:history","read","write",` +
	`"offline_access","User.Read","Mail.Send","Mail.Read","Files.ReadWrite.All","Calendars.Read","openid","email","profile",` +
	`"https://www.googleapis.com/auth/userinfo.email","https://www.googleapis.com/auth/spreadsheets",` +
	`"https://www.googleapis.com/auth/documents","https://www.googleapis.com/auth/gmail.send","https://www.googleapis.com/auth/gmail.modify",` +
	`"https://www.googleapis.com/auth/gmail.readonly","https://www.googleapis.com/auth/contacts.readonly",` +
	`"https://www.googleapis.com/auth/calendar.events","https://www.googleapis.com/auth/calendar.readonly",` +
	`"https://www.googleapis.com/auth/drive.file","https://www.googleapis.com/auth/drive.readonly"],"client_id":"` +
	`{"tenant":"","id":"","user_id":"usr_","server":"google-drive","auth_type":"oauth","provider":"google","status":"connected",` +
	`"account":{"subject":"1","label":"@example.com"},"scopes_asked":["https://www.googleapis.com/auth/"],` +
	`"scopes":["https://www.googleapis.com/auth/"],"client_id":".apps.googleusercontent.com"},` +
	`"set":{"grant_version":"set__a","grant_store":"dynamodb","access_version":"set__b","access":null,` +
	`"access_expires_at":"2026-0Z","issued_at":"2026-0Z","token_hash":""},"fence":1,` +
	`"lease":{"holder":"ref_","until":"2026-0Z"},"intent":{"id":"set__b","token_hash":"","at":"2026-0Z","attempt":1},` +
	`"renew_at":"2026-0Z","health":"ok","created_at":"2026-0Z","connected_at":"2026-0Z",` +
	`"last_refresh_at":"2026-0Z","last_used_at":"2026-0Z","revision":1}`
