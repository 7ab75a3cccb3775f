package dense

import (
	"math/bits"
	"slices"
)

// sizes are the sizes of the best codes, none longer than limit.
func (d *deflater) sizes(freq []uint32, sizes []uint8, limit int) {
	clear(sizes)
	d.sorted = d.sorted[:0]
	for symbol, f := range freq {
		if f > 0 {
			d.sorted = append(d.sorted, min(f, 1<<23-1)<<9|uint32(symbol))
		}
	}
	if len(d.sorted) == 0 {
		d.sorted = append(d.sorted, 0) // some code there has to be
	}
	slices.Sort(d.sorted)
	n := len(d.sorted)
	if n == 1 {
		sizes[d.sorted[0]&(1<<9-1)] = 1
		return
	}
	var depth [literals]uint32
	for i, s := range d.sorted {
		depth[i] = s >> 9
	}
	depths(depth[:n])
	// What is too deep moves up, and others down, until the codes fit.
	var count [literals]int
	total := 0
	for _, l := range depth[:n] {
		l = min(l, uint32(limit))
		count[l]++
		total += 1 << (limit - int(l))
	}
	for ; total > 1<<limit; total-- {
		count[limit]--
		l := limit - 1
		for count[l] == 0 {
			l--
		}
		count[l]--
		count[l+1] += 2
	}
	i := 0
	for l := limit; l > 0; l-- { // the least used is the longest
		for range count[l] {
			sizes[d.sorted[i]&(1<<9-1)] = uint8(l)
			i++
		}
	}
}

// depths turns two or more frequencies, the least first, into the depths that
// their symbols have in a Huffman tree. It needs no other room: A. Moffat and J.
// Katajainen, In-place calculation of minimum-redundancy codes, 1995.
func depths(a []uint32) {
	n := len(a)
	// From the left: the weights of inner nodes, then their parents.
	leaf, root := 0, 0
	smaller := func(next int) uint32 {
		if leaf == n || root < next && a[root] < a[leaf] {
			w := a[root]
			a[root] = uint32(next)
			root++
			return w
		}
		leaf++
		return a[leaf-1]
	}
	for next := range n - 1 {
		w := smaller(next)
		a[next] = w + smaller(next)
	}
	// From the right: the depths of inner nodes, then those of leaves.
	a[n-2] = 0
	for i := n - 3; i >= 0; i-- {
		a[i] = a[a[i]] + 1
	}
	free, depth := 1, uint32(0)
	inner, next := n-2, n-1
	for free > 0 {
		used := 0
		for inner >= 0 && a[inner] == depth {
			used++
			inner--
		}
		for ; free > used; free-- {
			a[next] = depth
			next--
		}
		free, depth = 2*used, depth+1
	}
}

// codes are the codes of those sizes: section 3.2.2. Their bits are in the order
// in which they are written.
func codes(sizes []uint8, codes []uint16) {
	var next [17]uint16
	for _, n := range sizes {
		next[n+1]++
	}
	next[1] = 0
	for n := 1; n < len(next); n++ {
		next[n] = (next[n] + next[n-1]) << 1
	}
	for i, n := range sizes {
		if n > 0 {
			codes[i] = bits.Reverse16(next[n]) >> (16 - n)
			next[n]++
		}
	}
}

// fixedLit and fixedDist are the sizes of section 3.2.6.
var fixedLit, fixedDist = func() (lit, dist [literals]uint8) {
	for i := range lit {
		switch {
		case i < 144:
			lit[i] = 8
		case i < 256:
			lit[i] = 9
		case i < 280:
			lit[i] = 7
		default:
			lit[i] = 8
		}
	}
	for i := range distances {
		dist[i] = 5
	}
	return lit, dist
}()
