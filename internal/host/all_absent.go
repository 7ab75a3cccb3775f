package host

import (
	"context"
	"slices"
	"strings"

	"github.com/lanyardhq/lanyard/internal/connection"
)

// absent is the tool of a server that the user has no connection of, or none any
// more: one without an id stands for it. A call that was answered by asking for
// one belongs to whichever was connected then, whatever its alias.
func (a *everything) absent(members []Member, name string) (Member, string, bool) {
	alias, tool, ok := strings.Cut(name, between)
	if _, long := cut(name); !ok || long || tool == "" {
		return Member{}, "", false
	}
	server, ok := a.service.Catalogue.Server(alias)
	if at := strings.LastIndexByte(alias, '-'); !ok && at > 0 { // of a second account
		server, ok = a.service.Catalogue.Server(alias[:at])
	}
	if !ok || !a.all.Holder.offered(server.Name) {
		return Member{}, "", false
	}
	of := slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.Server != server.Name })
	if len(of) == 0 {
		k := connection.Key{Tenant: a.all.Holder.Tenant}
		return Member{connection.Connection{Key: k, UserID: a.all.Holder.User, Server: server.Name, Alias: alias}}, tool, true
	}
	newest := of[len(of)-1]
	if state, err := ourState(a.m); err != nil || state == "" {
		return Member{}, "", false
	}
	return newest, tool, newest.Tools.Offers(tool)
}

// connected is the user's newest connection of the server.
func (a *everything) connected(ctx context.Context, server string) (connection.Connection, error) {
	members, err := a.service.Members(ctx, a.all.Holder)
	if err != nil {
		return connection.Connection{}, err
	}
	for _, m := range slices.Backward(members) {
		if m.Server == server {
			return a.service.connection(ctx, a.all.Holder.Caller(m.ID), m.Key)
		}
	}
	return connection.Connection{}, errMissing
}
