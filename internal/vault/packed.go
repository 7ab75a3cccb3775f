package vault

import "github.com/lanyardhq/lanyard/internal/dense"

// packed is how the parts of a set are packed before they are sealed. What was
// sealed with a dictionary opens with that one only, so this one never changes.
// Parts that were sealed as plain JSON open, too.
//
// Packing lets the length of a sealed part depend on more than the length of
// the token, and tells nothing of it: what is beside the token in one part comes
// from the same provider, and nobody can have a token sealed with words of his
// own to see which of them it shares.
var packed = dense.New(1, dictionary)

// maxPlain is the longest part that is opened.
const maxPlain = 1 << 20

// dictionary is what parts have in common, what most of them have last.
const dictionary = `{"values":{"API_KEY":"},"metadata":{"instance_url":"https://","team.id":"T0","user":{"access_token":"xoxp-","bot":"xoxb-",` +
	`"access_token":"EAAgho_gho_eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsIeyJhbGciOiJSUzI1NiIsImtpZCI6I","token_type":"bot","bearer",` +
	`"scopes":["read:user","repo","chat:write","users:read","channels:read","channels:history","read","write",` +
	`"offline_access","User.Read","Mail.Send","Mail.Read","Files.ReadWrite.All","Calendars.Read","openid","email","profile",` +
	`"https://www.googleapis.com/auth/userinfo.email","https://www.googleapis.com/auth/spreadsheets",` +
	`"https://www.googleapis.com/auth/documents","https://www.googleapis.com/auth/gmail.send","https://www.googleapis.com/auth/gmail.modify",` +
	`"https://www.googleapis.com/auth/gmail.readonly","https://www.googleapis.com/auth/contacts.readonly",` +
	`"https://www.googleapis.com/auth/calendar.events","https://www.googleapis.com/auth/calendar.readonly",` +
	`"https://www.googleapis.com/auth/drive.file","https://www.googleapis.com/auth/drive.readonly"]}}}` +
	`{"renewables":{"":{"refresh_token":"1//0","expires_at":"2026-0Z"}}}` +
	`{"tokens":{"":{"access_token":"ya29.a0","token_type":"Bearer","expires_at":"2026-0Z","scopes":["https://www.googleapis.com/auth/`
