// Package tasks proves what a task promises, from outside: HTTP in front,
// processes behind.
//
//	renewal_test.go    calls go on while tokens are renewed
//	leak_test.go       of a thousand abandoned sessions, and of what was killed,
//	                   nothing is left
//	isolation_test.go  a server that wants more than it was given, which is in
//	                   hostile_test.go, gets nothing
//
// They run on Linux, start this test program again as the runner and as the MCP
// servers (main_test.go), and play what is around a task: mcprun's control routes,
// the provider and its API (control_test.go, provider_test.go), MCP clients
// (client_test.go).
package tasks
