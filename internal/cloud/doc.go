// Package cloud keeps everything in an AWS account. It is the twin of package
// local: the same file names, the same contracts, the same suites.
package cloud
