package cloud

import (
	"context"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/host"
)

var _ host.Store = (*Table)(nil)

// tasksPK lists the tasks there are.
const tasksPK = "TASK"

func taskPK(k connection.Key) string { return join("TCON", k.Tenant, k.ID) }

// place is the item of a connection's task: it stays when the task ends,
// because it counts them.
type place struct {
	item item
	task host.Task
	// live: there is a task, running or failed.
	live bool
}

func (t *Table) place(ctx context.Context, k connection.Key) (place, error) {
	it, err := t.get(ctx, taskPK(k), only)
	if err != nil {
		return place{}, err
	}
	p := place{item: it}
	switch err := decode(it, &p.task, host.ErrNoTask); err {
	case nil:
		p.live = true
	case host.ErrNoTask:
	default:
		return p, err
	}
	return p, nil
}

// unchanged: the place is as it was read.
func (p place) unchanged() condition {
	if p.item == nil {
		return absent
	}
	return revision(numberOf(p.item, "rev"))
}

// holding is the item of a place with that task; nil: without one.
func (p place) holding(k connection.Key, task *host.Task, generation int64) item {
	it := at(taskPK(k), only)
	if task != nil {
		it = document(taskPK(k), only, task)
	}
	it["generation"], it["rev"] = number(generation), number(numberOf(p.item, "rev")+1)
	return following(it, p.item)
}

func pointer(task host.Task) item {
	it := at(tasksPK, task.ID)
	it["tenant_id"], it["connection_id"] = text(task.Connection.Tenant), text(task.Connection.ID)
	return it
}

// BeginTask implements [host.Store].
func (t *Table) BeginTask(ctx context.Context, task host.Task) (host.Task, error) {
	for try := 0; ; try++ {
		p, err := t.place(ctx, task.Connection)
		if err != nil {
			return host.Task{}, err
		}
		if p.live && p.task.State != host.TaskFailed {
			return p.task, host.ErrRunning
		}
		task.Generation = numberOf(p.item, "generation") + 1
		changes := []change{
			{put: p.holding(task.Connection, &task, task.Generation), condition: p.unchanged()},
			{put: pointer(task), condition: absent},
		}
		if p.live && p.task.ID != task.ID {
			changes = append(changes, change{remove: at(tasksPK, p.task.ID)})
		}
		err = t.transact(ctx, changes...)
		old, raced := refusal(err)
		switch {
		case err == nil:
			return task, nil
		case !raced:
			return host.Task{}, err
		case textOf(old, "pk") == tasksPK:
			return host.Task{}, host.ErrExists
		}
		if err := pause(ctx, try); err != nil {
			return host.Task{}, err
		}
	}
}

// GetTask implements [host.Store].
func (t *Table) GetTask(ctx context.Context, id string) (host.Task, error) {
	p, err := t.placeOf(ctx, id)
	return p.task, err
}

// placeOf is the place that holds the task of that id, or ErrNoTask.
func (t *Table) placeOf(ctx context.Context, id string) (place, error) {
	it, err := t.get(ctx, tasksPK, id)
	if err != nil {
		return place{}, err
	}
	if it == nil {
		return place{}, host.ErrNoTask
	}
	p, err := t.place(ctx, connection.Key{Tenant: textOf(it, "tenant_id"), ID: textOf(it, "connection_id")})
	if err == nil && (!p.live || p.task.ID != id) {
		return place{}, host.ErrNoTask
	}
	return p, err
}

// TaskOf implements [host.Store].
func (t *Table) TaskOf(ctx context.Context, k connection.Key) (host.Task, error) {
	p, err := t.place(ctx, k)
	if err == nil && !p.live {
		err = host.ErrNoTask
	}
	return p.task, err
}

// UpdateTask implements [host.Store].
func (t *Table) UpdateTask(ctx context.Context, id string, change func(*host.Task) error) (host.Task, error) {
	for try := 0; ; try++ {
		p, err := t.placeOf(ctx, id)
		if err != nil {
			return host.Task{}, err
		}
		task := p.task
		if err := change(&task); err != nil {
			return host.Task{}, err
		}
		task.ID, task.Connection = id, p.task.Connection
		err = t.put(ctx, p.holding(task.Connection, &task, numberOf(p.item, "generation")), p.unchanged())
		if _, raced := refusal(err); !raced {
			if err != nil {
				return host.Task{}, err
			}
			return task, nil
		}
		if err := pause(ctx, try); err != nil {
			return host.Task{}, err
		}
	}
}

// EndTask implements [host.Store].
func (t *Table) EndTask(ctx context.Context, id string) error {
	for try := 0; ; try++ {
		p, err := t.placeOf(ctx, id)
		if err == host.ErrNoTask {
			return nil
		}
		if err != nil {
			return err
		}
		err = t.transact(ctx,
			change{put: p.holding(p.task.Connection, nil, numberOf(p.item, "generation")), condition: p.unchanged()},
			change{remove: at(tasksPK, id)})
		if _, raced := refusal(err); !raced {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// Tasks implements [host.Store].
func (t *Table) Tasks(ctx context.Context) ([]host.Task, error) {
	var ids []string
	var places []item
	err := t.query(ctx, query{pk: tasksPK}, func(it item) (bool, error) {
		ids = append(ids, textOf(it, "sk"))
		places = append(places, at(taskPK(connection.Key{Tenant: textOf(it, "tenant_id"), ID: textOf(it, "connection_id")}), only))
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	there, err := t.getAll(ctx, places)
	if err != nil {
		return nil, err
	}
	var out []host.Task
	for i, id := range ids {
		var task host.Task
		err := decode(there[textOf(places[i], "pk")], &task, host.ErrNoTask)
		if err == nil && task.ID == id {
			out = append(out, task)
		} else if err != nil && err != host.ErrNoTask {
			return nil, err
		}
	}
	return out, nil
}
