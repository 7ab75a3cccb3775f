package cloud

// defaultLimit is how long a page is when its reader names no limit.
const defaultLimit = 100
