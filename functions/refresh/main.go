// Command refresh keeps tokens alive, hands them out and ends them: for the API, for
// mcprun, by schedule, and on disconnect.
package main

import "github.com/lanyardhq/lanyard/functions/internal/wire"

func main() { wire.Main("refresh", wire.Refresh) }
