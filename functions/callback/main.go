// Command callback turns what a person gave, a code or a pasted key, into a sealed set.
package main

import "github.com/lanyardhq/lanyard/functions/internal/wire"

func main() { wire.Main("callback", wire.Callback) }
