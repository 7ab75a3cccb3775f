package demo

import "slices"

// The scopes that can be asked for.
const (
	scopeProfile = "profile"
	scopeRead    = "notes.read"
	scopeWrite   = "notes.write"
)

// scope is a permission as the consent page shows it.
type scope struct{ Name, Title, Detail string }

func scopes() []scope {
	return []scope{
		{scopeProfile, "See who you are", "Your name and email address."},
		{scopeRead, "Read your notes", "All notes of this account."},
		{scopeWrite, "Change your notes", "Add notes and delete them."},
	}
}

func knownScope(name string) bool {
	return slices.ContainsFunc(scopes(), func(s scope) bool { return s.Name == name })
}

// account is one of the people that anybody on this machine may be.
type account struct {
	Sub   string `json:"sub"`
	Name  string `json:"name"`
	Email string `json:"email"`

	samples []string
}

func accounts() []account {
	return []account{
		{"ada", "Ada Lovelace", "ada@demo.example", []string{
			"Welcome! These notes live in a file on this machine.",
			"Ask your assistant to add a note, then list them again.",
			"Idea: could the Analytical Engine compose music?",
		}},
		{"grace", "Grace Hopper", "grace@demo.example", []string{
			"Welcome! These notes live in a file on this machine.",
			"Found a moth in relay 70. Taped it into the log book.",
			"A ship in port is safe, but that is not what ships are for.",
		}},
	}
}

func accountOf(sub string) (account, bool) {
	for _, a := range accounts() {
		if a.Sub == sub {
			return a, true
		}
	}
	return account{}, false
}
