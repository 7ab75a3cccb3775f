// Package front is what stands before the functions on AWS, as far as it can be
// seen from outside or by a function: CloudFront's edge, and API Gateway's REST
// API with its resources, authorizer, API key, gateway responses and proxy
// integrations, whole and streamed.
package front

import (
	"net/url"
	"strings"

	"github.com/lanyardhq/lanyard/internal/web"
)

// node is a resource of the API.
type node struct {
	path     string
	literal  map[string]*node
	param    *node
	name     string // of the parameter
	greedy   *node
	byMethod map[string]web.Route
}

func tree(routes []web.Route) *node {
	root := &node{path: "/"}
	for _, r := range routes {
		n := root
		for _, segment := range segments(r.Path) {
			n = n.child(segment)
		}
		if n.byMethod == nil {
			n.byMethod = map[string]web.Route{}
		}
		n.byMethod[r.Method] = r
	}
	return root
}

func segments(path string) []string {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

func (n *node) child(segment string) *node {
	made := &node{path: strings.TrimSuffix(n.path, "/") + "/" + segment}
	slot := &n.param
	switch {
	case strings.HasSuffix(segment, "+}"):
		made.name, slot = strings.Trim(segment, "{+}"), &n.greedy
	case strings.HasPrefix(segment, "{"):
		made.name = strings.Trim(segment, "{}")
	default:
		if n.literal == nil {
			n.literal = map[string]*node{}
		}
		if n.literal[segment] == nil {
			n.literal[segment] = made
		}
		return n.literal[segment]
	}
	if *slot == nil {
		*slot = made
	}
	return *slot
}

// find returns the resource of an escaped path and its parameters, decoded. A
// named resource hides what {proxy+} would have taken: nothing is gone back on.
func (n *node) find(path string) (*node, map[string]string) {
	params := map[string]string{}
	rest := segments(path)
	for i, segment := range rest {
		switch {
		case n.literal[segment] != nil:
			n = n.literal[segment]
		case n.param != nil:
			n = n.param
			params[n.name] = unescaped(segment)
		case n.greedy != nil:
			n = n.greedy
			params[n.name] = unescaped(strings.Join(rest[i:], "/"))
			return n, params
		default:
			return nil, nil
		}
	}
	return n, params
}

func unescaped(s string) string {
	if out, err := url.PathUnescape(s); err == nil {
		return out
	}
	return s
}

// route is the resource's for a method.
func (n *node) route(method string) (web.Route, bool) {
	if n == nil {
		return web.Route{}, false
	}
	r, ok := n.byMethod[method]
	if !ok {
		r, ok = n.byMethod["ANY"]
	}
	return r, ok
}
