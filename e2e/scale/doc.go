// Package scale measures what the refresher does with many connections. It is
// tests: `make bench` runs them at their full size, `go test` at a small one,
// so that they cannot rot.
//
//	throughput   the refresher's code against a real provider process on
//	             loopback, beside a loop that does the HTTP exchange alone
//	simulation   a million connections, hours long, in the fake time of
//	             testing/synctest: the dispatcher, the planning, the renewals,
//	             the vault and the adapter of DynamoDB are the ones that are
//	             deployed; DynamoDB, SQS and the providers are played here
//
// What is played counts what AWS would ask money for: see [Units].
package scale
