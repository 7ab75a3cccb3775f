// Package nowait makes the system calls that never wait.
//
// Go takes each read and write for one that may last: it leaves the processor to the
// other goroutines before and asks for it afterwards, and a thread of the runtime's own
// looks every 20 µs whether that was worth it. Where a file does not block, nothing of
// that is needed; under many short messages that thread alone took a tenth of the
// bridge's processor time.
package nowait
