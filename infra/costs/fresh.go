package costs

import (
	"fmt"
	"strings"

	"github.com/lanyardhq/lanyard/internal/config"
)

// What Secrets Manager takes of an account in a Region (its page of quotas):
// writes a second, which cannot be raised, and secrets.
const (
	secretWrites = 50
	mostSecrets  = 500_000
)

// renewal is what one renewal costs, with an audit line but not its storage.
func (p *Prices) renewal(s Stack, store string, rotates bool) float64 {
	a := func(name string) float64 { return p.assume(p.Renewal, name) }
	writes, reads, secret := a("writes"), a("reads"), 0.0
	switch {
	case store == config.StoreSecretsManager && rotates:
		reads, secret = reads-a("grant_reads"), 1+a("secret_writes")
	case store == config.StoreSecretsManager:
		reads, secret = reads-a("grant_reads"), 1
	case rotates:
		writes, reads = a("writes_rotating"), a("reads_rotating")
	}
	return writes*p.usd("dynamodb_write") + reads*p.usd("dynamodb_read") + secret*p.usd("secret_call") +
		a("kms_calls")*p.usd("kms_call") + a("queue_calls")*p.usd("sqs_call") +
		p.usd("lambda_call")/10 + a("seconds")*s.memory("refresh")*p.usd("lambda_gb_second")
}

// freshly is what a month of connections costs whose tokens are always fresh,
// and what their lines of audit cost when a year of them is there.
func (p *Prices) freshly(s Stack, store string) (renewals, usd, audit float64) {
	a := func(name string) float64 { return p.assume(p.Fresh, name) }
	renewals = minutesOfMonth / a("minutes")
	rotating := a("rotating_share")
	usd = renewals * (rotating*p.renewal(s, store, true) + (1-rotating)*p.renewal(s, store, false))
	audit = renewals * p.assume(p.Connection, "audit_kb") * 12 / kbOfGB * (p.usd("dynamodb_gb_month") + p.usd("dynamodb_backup_gb_month"))
	return renewals, usd, audit
}

// fresh is the part of the page on tokens that are kept fresh.
func (p *Prices) fresh(s Stack) string {
	var b strings.Builder
	a := func(name string) float64 { return p.assume(p.Renewal, name) }
	f := func(name string) float64 { return p.assume(p.Fresh, name) }
	renewals, _, audit := p.freshly(s, config.StoreDynamoDB)
	fmt.Fprintf(&b, "\n## Tokens kept fresh\n\nTokens that live for an hour are renewed every %.0f minutes, %.0f times a month. One renewal takes what `make bench` measured ([docs/benchmarks.md](benchmarks.md)): "+
		"%.1f write units of DynamoDB, %.1f where a refresh token of some 2.5 KB rotates (every item, the index and the audit line counted), %.1f read units, %.2f calls of KMS, %.2f of SQS, %.2f seconds of the function. "+
		"Taken for granted: %.0f%% of the connections rotate.\n\n",
		f("minutes"), renewals, a("writes"), a("writes_rotating"), a("reads"), a("kms_calls"), a("queue_calls"), a("seconds"), 100*f("rotating_share"))
	b.WriteString("| US$ a million renewals | not rotating | rotating |\n|---|---:|---:|\n")
	for _, store := range []string{config.StoreSecretsManager, config.StoreDynamoDB} {
		fmt.Fprintf(&b, "| `vault_store: %s` | %.2f | %.2f |\n", store, 1e6*p.renewal(s, store, false), 1e6*p.renewal(s, store, true))
	}
	used := f("used_share")
	fmt.Fprintf(&b, "\nUS$ a month for renewals alone. *Always* is every token fresh, day and night; *used* is what is shipped (`keep_fresh`): the connections that were used within the last week, taken to be %.0f%% of them.\n\n"+
		"| connections | dynamodb, always | dynamodb, used | secretsmanager, always | secretsmanager, used | the secrets |\n|---:|---:|---:|---:|---:|---:|\n", 100*used)
	_, table, _ := p.freshly(s, config.StoreDynamoDB)
	_, secrets, _ := p.freshly(s, config.StoreSecretsManager)
	for _, n := range []float64{1000, 100_000, 1_000_000} {
		kept := fmt.Sprintf("%.2f | %.2f | %.2f", n*secrets, n*used*secrets, n*p.usd("secret_month"))
		if n > mostSecrets {
			kept = "– | – | –"
		}
		fmt.Fprintf(&b, "| %.0f | %.2f | %.2f | %s |\n", n, n*table, n*used*table, kept)
	}
	most := secretWrites / a("secret_writes") * 60 * f("minutes")
	fmt.Fprintf(&b, "\nSecrets Manager takes %d writes a second and %d secrets an account and Region. A rotation is %.0f of these writes, so that at most %.0f connections that rotate each hour fit, less with connects and deletions beside them; beyond, `vault_store: dynamodb`. "+
		"The audit keeps a line of each renewal: once a year of them is there, that is $%.2f a month for each 1000 connections that are always fresh.\n",
		secretWrites, mostSecrets, a("secret_writes"), most, 1000*audit)
	return b.String()
}
