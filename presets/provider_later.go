package presets

// What this file declares has its place in a provider's file, and the engine
// cannot do it yet. A file that needs it is told so by Check, in place of being
// half understood.

// later reports what the engine cannot do yet.
func (c *checker) later() {
	p := c.p
	for _, l := range []struct {
		path, what string
		there      bool
	}{
		{"introspection_endpoint", "learning an expiry by introspection (RFC 7662)", p.IntrospectionEndpoint != ""},
		{"validation_interval", "checking a living token by schedule", p.ValidationInterval != ""},
		{"callback.method", "a callback by POST", p.Callback.Method != "" && p.Callback.Method != "GET"},
	} {
		if l.there {
			c.add(l.path, "%s is not supported yet", l.what)
		}
	}
}
