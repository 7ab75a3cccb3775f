// Command connect is everything before the provider: links, pages, consent, and the lists.
// It has no access to a secret.
package main

import "github.com/lanyardhq/lanyard/functions/internal/wire"

func main() { wire.Main("connect", wire.Connect) }
