package cloud

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/service/dynamodb"

	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Pool = (*Table)(nil)

// warmPK lists the tasks that wait. They are few, so that one query finds those
// of a server.
const warmPK = "WARM"

// untaken: nobody waits under that id. What was taken leaves its item without a
// document for a moment.
var untaken = condition{expression: "attribute_not_exists(doc)"}

func warmItem(w host.Warm, replaced item) item {
	it := document(warmPK, w.ID, w)
	it["rev"] = number(numberOf(replaced, "rev") + 1)
	return following(it, replaced)
}

// AddWarm implements [host.Pool].
func (t *Table) AddWarm(ctx context.Context, w host.Warm) error {
	err := t.put(ctx, warmItem(w, nil), untaken)
	if _, there := refusal(err); there {
		return host.ErrExists
	}
	return err
}

// warmTask is the item of that id and its record, or ErrNoTask.
func (t *Table) warmTask(ctx context.Context, id string) (it item, w host.Warm, err error) {
	if it, err = t.get(ctx, warmPK, id); err == nil {
		err = decode(it, &w, host.ErrNoTask)
	}
	return it, w, err
}

// ReadyWarm implements [host.Pool].
func (t *Table) ReadyWarm(ctx context.Context, ready host.Warm) error {
	for try := 0; ; try++ {
		it, w, err := t.warmTask(ctx, ready.ID)
		if err != nil {
			return err
		}
		if w.Registered {
			return host.ErrExists
		}
		w.IdentityHash, w.Address, w.KeyFingerprint, w.Registered = ready.IdentityHash, ready.Address, ready.KeyFingerprint, true
		err = t.put(ctx, warmItem(w, it), revision(numberOf(it, "rev")))
		if _, raced := refusal(err); !raced {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// TakeWarm implements [host.Pool].
func (t *Table) TakeWarm(ctx context.Context, server string) (host.Warm, error) {
	items, all, err := t.warmItems(ctx)
	if err != nil {
		return host.Warm{}, err
	}
	for i, w := range all {
		if w.Server != server || !w.Registered {
			continue
		}
		switch err := t.removeWarm(ctx, items[i]); err {
		case nil:
			return w, nil
		case host.ErrNoTask: // somebody else has it
		default:
			return host.Warm{}, err
		}
	}
	return host.Warm{}, host.ErrNoTask
}

// removeWarm takes the item as it was read; ErrNoTask if it is another by now.
// A removal that is sent again cannot tell whose it was, a put can: so the item
// is emptied first.
func (t *Table) removeWarm(ctx context.Context, it item) error {
	key := at(textOf(it, "pk"), textOf(it, "sk"))
	empty := following(at(warmPK, textOf(it, "sk")), it)
	empty["rev"], empty["ttl"] = number(numberOf(it, "rev")+1), until(t.Now())
	err := t.put(ctx, empty, revision(numberOf(it, "rev")))
	if _, raced := refusal(err); raced {
		return host.ErrNoTask
	}
	if err != nil {
		return err
	}
	// What is left tells nothing to anybody: if it stays, its ttl removes it.
	_, _ = t.API.DeleteItem(ctx, &dynamodb.DeleteItemInput{TableName: &t.Name, Key: key, ConditionExpression: &untaken.expression})
	return nil
}

func (t *Table) warmItems(ctx context.Context) (items []item, all []host.Warm, err error) {
	err = t.query(ctx, query{pk: warmPK}, func(it item) (bool, error) {
		var w host.Warm
		err := decode(it, &w, host.ErrNoTask)
		if err == host.ErrNoTask {
			return true, nil
		}
		items, all = append(items, it), append(all, w)
		return true, err
	})
	return items, all, err
}

// WarmTasks implements [host.Pool].
func (t *Table) WarmTasks(ctx context.Context) ([]host.Warm, error) {
	_, all, err := t.warmItems(ctx)
	return all, err
}

// DropWarm implements [host.Pool].
func (t *Table) DropWarm(ctx context.Context, id string) error {
	for try := 0; ; try++ {
		it, _, err := t.warmTask(ctx, id)
		if err != nil {
			return err
		}
		if err := t.removeWarm(ctx, it); err != host.ErrNoTask {
			return err
		}
		if err := pause(ctx, try); err != nil { // changed meanwhile, or gone
			return err
		}
	}
}
