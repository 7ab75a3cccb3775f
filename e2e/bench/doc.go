// Command bench measures `lanyard bridge` beside supergateway and mcp-proxy, two
// bridges from npm, all in front of the same echo server. Two more rows say
// what is there to be had: the raw pipe to that server, and an HTTP server with
// nothing behind it.
//
// `scripts/bench.sh bridge` installs what it needs and runs it. Every bridge
// keeps running, with one session; they are loaded in turns, with one caller and
// with many, several rounds of it. What is printed are the medians of the rounds.
//
//	main.go    the rounds and the table
//	subject.go what is measured: how it is started, what memory it takes
//	load.go    the callers, over HTTP
//	pipe.go    the callers, over the pipe
//	echo.go    the server
package main
