//go:build unix && !linux

package local

func awaitExit(int) {}

// endFamily does nothing: only Linux tells which processes belong together.
// What a killed runner left behind ends when it finds its input closed.
func endFamily(int, string) {}
