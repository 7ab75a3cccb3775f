package presets

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

func (c *checker) parameters() {
	for _, name := range slices.Sorted(maps.Keys(c.p.Parameters)) {
		param, path := c.p.Parameters[name], "parameters."+name
		if !placeholder.MatchString("{" + name + "}") {
			c.add(path, "a parameter's name is lower-case letters, digits and _")
		}
		if slices.Contains(reservedNames, name) {
			c.add(path, "the name is taken: the engine fills it")
		}
		c.oneOf(path+".source", param.Source, SourceUser, SourceDeployment, SourceClient, SourceDerived, SourceCallback, SourceTokenResponse)
		if param.Source == SourceDerived || len(param.Cases) > 0 {
			c.derived(path, param)
			continue
		}
		c.pattern(path, param)
		switch param.Source {
		case SourceClient:
			if slices.Contains(ClientSettings, name) {
				c.add(path, "the name is taken: a client has a setting of it")
			}
		case SourceCallback:
			if !slices.Contains(c.p.Callback.Capture, name) && !c.partial {
				c.add(path+".source", "callback.capture does not name %s", name)
			}
		case SourceTokenResponse:
			if !slices.Contains(c.p.kept(), name) && !c.partial {
				c.add(path+".source", "neither response.metadata nor discovery.metadata names %s", name)
			}
		}
	}
}

// ClientSettings are what every client may have beside its parameters, none of which
// has such a name: PROVIDER_CLIENT_ID and so on in the environment.
var ClientSettings = []string{"id", "secret", "variant", "issuer"}

// derived wants a parameter to follow from those of the client in every case, and
// from nothing that anybody else says.
func (c *checker) derived(path string, param Parameter) {
	if param.Source != SourceDerived || len(param.Cases) == 0 && !c.partial {
		c.add(path, "cases are for source derived, which needs them")
		return
	}
	if param.Default != "" || param.Pattern != "" || len(param.Enum) > 0 {
		c.add(path, "a derived parameter is what its cases say: it has no default, pattern or enum")
	}
	ofClient := func(path, name string) {
		if c.p.Parameters[name].Source != SourceClient && !c.partial {
			c.add(path, "{%s} is no parameter of the client", name)
		}
	}
	for i, each := range param.Cases {
		at := fmt.Sprintf("%s.cases[%d]", path, i)
		for _, name := range slices.Sorted(maps.Keys(each.When)) {
			ofClient(at+".when."+name, name)
			c.anchored(at+".when."+name, each.When[name])
		}
		for _, name := range placeholders(each.Value) {
			ofClient(at+".value", name)
		}
		if each.Value == "" {
			c.add(at+".value", "required")
		}
		if last := i == len(param.Cases)-1; last != (len(each.When) == 0) {
			c.add(at+".when", "the last case, and no other, has none: it is for all the rest")
		}
	}
}

// anchored reports whether a pattern can be used, and says why not.
func (c *checker) anchored(path, pattern string) bool {
	if _, err := regexp.Compile(pattern); err != nil {
		c.add(path, "does not compile: %v", err)
		return false
	}
	if !strings.HasPrefix(pattern, "^") || !strings.HasSuffix(pattern, "$") {
		c.add(path, "must be anchored with ^ and $")
	}
	return true
}

func (c *checker) pattern(path string, param Parameter) {
	if param.Pattern == "" {
		if len(param.Enum) == 0 && param.Source != SourceDeployment && !c.partial {
			c.add(path, "needs a pattern or an enum: its value comes from outside and goes into a URL")
		}
		return
	}
	if !c.anchored(path+".pattern", param.Pattern) {
		return
	}
	if param.Default != "" {
		if err := param.Allows(param.Default); err != nil {
			c.add(path+".default", "%v", err)
		}
	}
}
