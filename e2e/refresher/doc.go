// Package refresher proves the refresher by races and kills: real processes, a
// real authorization server that rotates refresh tokens and ends a grant when
// one is presented twice, real stores.
//
// The tests start this test program again as the processes that renew (see
// child_test.go), and Node.js for the authorization servers (provider.mjs).
// `make e2e-refresher` installs what they need and runs them. These settings
// make a run longer:
//
//	PROOF_ROUNDS   renewals of each race on SQLite and DynamoDB Local, one after the other
//	PROOF_KILLS    kills at each step of a renewal
//	PROOF_CHAIN    kills at random moments, one after the other
//	PROOF_SEED     which random moments; each run says its own
package refresher
