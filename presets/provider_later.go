package presets

// What this file declares has its place in a provider's file, and the engine
// cannot do it yet. A file that needs it is told so by Check, in place of being
// half understood.

// Discovery asks, after connecting, which of several places of the provider the
// grant is for: Atlassian's sites, Xero's organisations.
type Discovery struct {
	Request APIRequest `yaml:"request"`
	// Items is the path of the list in the reply; ID, Label and URL are paths
	// below each item.
	Items string `yaml:"items,omitempty"`
	ID    string `yaml:"id,omitempty"`
	Label string `yaml:"label,omitempty"`
	URL   string `yaml:"url,omitempty"`
	// Pick is what to do with several: one, all or ask.
	Pick string `yaml:"pick,omitempty"`
}

// later reports what the engine cannot do yet.
func (c *checker) later() {
	p := c.p
	for _, l := range []struct {
		path, what string
		there      bool
	}{
		{"discovery", "choosing among several places of one grant", p.Discovery != nil},
		{"introspection_endpoint", "learning an expiry by introspection (RFC 7662)", p.IntrospectionEndpoint != ""},
		{"validation_interval", "checking a living token by schedule", p.ValidationInterval != ""},
		{"callback.method", "a callback by POST", p.Callback.Method != "" && p.Callback.Method != "GET"},
	} {
		if l.there {
			c.add(l.path, "%s is not supported yet", l.what)
		}
	}
}
