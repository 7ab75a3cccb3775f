package cloud

import (
	"context"
	"time"

	"github.com/lanyardhq/lanyard/internal/connection"
	"github.com/lanyardhq/lanyard/internal/signin"
)

var _ signin.Store = (*Table)(nil)

func attemptPK(id string) string { return join("SGN", id) }

// attemptItem is the item of an attempt.
func attemptItem(a signin.Attempt) item {
	it := document(attemptPK(a.ID), only, a)
	it["tenant"], it["user_id"], it["proof"] = text(a.Tenant), text(a.UserID), text(a.ProofHash)
	it["exp_at"], it["ttl"] = text(connection.Stamp(a.ExpiresAt)), until(a.ExpiresAt)
	return it
}

// attempt reads the attempt of an item.
func attempt(it item) (signin.Attempt, error) {
	var a signin.Attempt
	if it == nil {
		return a, signin.ErrUnknown
	}
	return a, decode(it, &a, signin.ErrUsed)
}

// PutAttempt implements [signin.Store].
func (t *Table) PutAttempt(ctx context.Context, a signin.Attempt) error {
	return taken(t.put(ctx, attemptItem(a), absent))
}

// Attempt implements [signin.Store].
func (t *Table) Attempt(ctx context.Context, id string) (signin.Attempt, error) {
	it, err := t.get(ctx, attemptPK(id), only)
	if err != nil {
		return signin.Attempt{}, err
	}
	return attempt(it)
}

// ConfirmAttempt implements [signin.Store].
func (t *Table) ConfirmAttempt(ctx context.Context, tenant, id, user, proofHash string, now time.Time) (signin.Attempt, error) {
	old, err := t.get(ctx, attemptPK(id), only)
	if err != nil {
		return signin.Attempt{}, err
	}
	a, err := attempt(old)
	if err != nil {
		return signin.Attempt{}, err
	}
	a.UserID, a.ProofHash = user, proofHash
	err = t.put(ctx, following(attemptItem(a), old), condition{
		"attribute_exists(doc) AND tenant = :tenant AND exp_at > :now AND (user_id = :nobody OR user_id = :user)", item{
			":tenant": text(tenant), ":now": text(connection.Stamp(now)), ":nobody": text(""), ":user": text(user),
		}})
	is, no := refusal(err)
	if !no {
		if err != nil {
			return signin.Attempt{}, err
		}
		return a, nil
	}
	a, refused := attempt(is)
	if refused == nil {
		refused = a.MayConfirm(tenant, user, now)
	}
	if refused != nil {
		err = refused
	}
	return signin.Attempt{}, err
}

// TakeAttempt implements [signin.Store]. The one write that takes the attempt
// leaves its mark in the same place, as that of [Table.TakeState] does. It is of
// the attempt that was read: one that was confirmed meanwhile is read again.
func (t *Table) TakeAttempt(ctx context.Context, id, browser, proofHash string, now time.Time) (signin.Attempt, error) {
	it, err := t.get(ctx, attemptPK(id), only)
	for try := 0; err == nil; try++ {
		a, refused := attempt(it)
		if refused == nil {
			refused = a.MayTake(browser, proofHash, now)
		}
		if refused != nil {
			return signin.Attempt{}, refused
		}
		mark := at(attemptPK(id), only)
		mark["ttl"] = number(now.Add(usedMemory).Unix())
		err = t.put(ctx, mark, condition{"attribute_exists(doc) AND proof = :proof AND user_id = :user", item{
			":proof": text(proofHash), ":user": text(a.UserID),
		}})
		if err == nil {
			return a, nil
		}
		if is, no := refusal(err); no {
			it, err = is, pause(ctx, try)
		}
	}
	return signin.Attempt{}, err
}
