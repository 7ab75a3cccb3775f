// Command mcprun is everything between an MCP client and a running server. Deployed
// without its settings for tasks it is the authorizer of MCP clients, too.
package main

import "github.com/lanyardhq/lanyard/functions/internal/wire"

func main() { wire.Main("mcprun", wire.MCPRun) }
