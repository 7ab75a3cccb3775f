package dense

import (
	"encoding/binary"
	"math/bits"
)

// Go's own writer of DEFLATE is made for long texts: for each it clears most of
// a megabyte and goes through the dictionary anew, which takes many times as
// long as a text of a kilobyte does, and drives from the processor's cache
// whatever else is done. This one is made for short texts. It makes one block of
// each; package compress/flate reads it.

const (
	minMatch, maxMatch = 4, 258
	maxDistance        = 1 << 15
	// tries is how many earlier places are looked at for a match, and enough the
	// length of one with which nobody looks further.
	tries, enough = 16, 32
	hashBits      = 12

	endOfBlock = 256
	literals   = 288 // literals, the end, and lengths; two stand for nothing
	distances  = 30
	codeSizes  = 19
)

// index finds earlier places that begin like a later one: heads by the hash of
// four bytes, prev by the place. Places count from 1; 0 is none.
type index struct {
	heads [1 << hashBits]int32
	prev  []int32
}

func hash(b []byte) uint32 { return binary.LittleEndian.Uint32(b) * 2654435761 >> (32 - hashBits) }

// add adds the next place of text: the one that has not been added yet.
func (x *index) add(text []byte) {
	at := len(x.prev)
	if at+minMatch > len(text) {
		x.prev = append(x.prev, 0)
		return
	}
	h := hash(text[at:])
	x.prev = append(x.prev, x.heads[h])
	x.heads[h] = int32(at) + 1
}

// match is the longest match of what is at the place that is to be added next;
// length 0: there is none.
func (x *index) match(text []byte) (length, distance int) {
	at := len(x.prev)
	if at+minMatch > len(text) {
		return 0, 0
	}
	here := text[at:min(at+maxMatch, len(text))]
	length = minMatch - 1
	for place, n := x.heads[hash(here)], tries; place > 0 && n > 0; place, n = x.prev[place-1], n-1 {
		from := int(place) - 1
		if at-from > maxDistance {
			break
		}
		if text[from+length] != here[length] {
			continue
		}
		l := common(text[from:], here)
		if l > length {
			length, distance = l, at-from
			if l == len(here) {
				break
			}
		}
	}
	if distance == 0 {
		return 0, 0
	}
	return length, distance
}

// common is how many bytes of b a, which is longer, begins with.
func common(a, b []byte) (n int) {
	for ; n+8 <= len(b); n += 8 {
		if differ := binary.LittleEndian.Uint64(a[n:]) ^ binary.LittleEndian.Uint64(b[n:]); differ != 0 {
			return n + bits.TrailingZeros64(differ)/8
		}
	}
	for n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// deflater has room for what packing takes.
type deflater struct {
	index
	text []byte
	// tokens are literals, or matches: length<<16 | distance.
	tokens []uint32
	// How often the codes are used, how long they are and what they are.
	litFreq, distFreq   [literals]uint32
	litSizes, distSizes [literals]uint8
	litCodes, distCodes [literals]uint16
	sorted              []uint32
}

// deflate appends the text, but for the tail. known is the index of the
// dictionary.
func (d *deflater) deflate(out, dictionary []byte, known *index, text []byte) []byte {
	d.text = append(append(d.text[:0], dictionary...), text...)
	d.heads, d.prev = known.heads, append(d.prev[:0], known.prev...)
	d.tokenize()
	d.litFreq, d.distFreq = [literals]uint32{endOfBlock: 1}, [literals]uint32{}
	for _, t := range d.tokens {
		if length := int(t >> 16); length > 0 {
			code, _, _ := lengthCode(length)
			d.litFreq[code]++
			code, _, _ = distanceCode(int(t & 0xffff))
			d.distFreq[code]++
		} else {
			d.litFreq[t]++
		}
	}
	d.sizes(d.litFreq[:], d.litSizes[:], 15)
	d.sizes(d.distFreq[:distances], d.distSizes[:distances], 15)
	w := &bitWriter{out: out}
	w.put(0, 1) // not the last block
	if h := d.header(); h.size+d.cost(d.litSizes[:], d.distSizes[:]) < d.cost(fixedLit[:], fixedDist[:]) {
		w.put(2, 2)
		h.write(w)
	} else {
		w.put(1, 2)
		d.litSizes, d.distSizes = fixedLit, fixedDist
	}
	codes(d.litSizes[:], d.litCodes[:])
	codes(d.distSizes[:distances], d.distCodes[:])
	for _, t := range d.tokens {
		length := int(t >> 16)
		if length == 0 {
			w.put(uint32(d.litCodes[t]), d.litSizes[t])
			continue
		}
		code, extra, n := lengthCode(length)
		w.put(uint32(d.litCodes[code]), d.litSizes[code])
		w.put(extra, n)
		code, extra, n = distanceCode(int(t & 0xffff))
		w.put(uint32(d.distCodes[code]), d.distSizes[code])
		w.put(extra, n)
	}
	w.put(uint32(d.litCodes[endOfBlock]), d.litSizes[endOfBlock])
	w.put(1, 3) // the last block, which is stored: its length would follow, see tail
	return w.end()
}

// tokenize finds the matches. A literal is put before a match that begins one
// place later and is longer.
func (d *deflater) tokenize() {
	d.tokens = d.tokens[:0]
	length, distance := d.match(d.text)
	for at := len(d.prev); at < len(d.text); at = len(d.prev) {
		d.add(d.text)
		nextLength, nextDistance := 0, 0
		if length < enough {
			nextLength, nextDistance = d.match(d.text)
		}
		if length == 0 || nextLength > length {
			d.tokens = append(d.tokens, uint32(d.text[at]))
			length, distance = nextLength, nextDistance
			continue
		}
		d.tokens = append(d.tokens, uint32(length)<<16|uint32(distance-1))
		for range length - 1 {
			d.add(d.text)
		}
		length, distance = d.match(d.text)
	}
}

// lengthCode and distanceCode are the codes of RFC 1951, section 3.2.5, with the
// bits that follow them; distance is one less than the distance.
func lengthCode(length int) (code int, extra uint32, n uint8) {
	if length == maxMatch {
		return 285, 0, 0
	}
	x := length - 3
	n = uint8(max(0, bits.Len(uint(x))-3))
	return 257 + 4*int(n) + x>>n, uint32(x) & (1<<n - 1), n
}

func distanceCode(distance int) (code int, extra uint32, n uint8) {
	n = uint8(max(0, bits.Len(uint(distance))-2))
	return 2*int(n) + distance>>n, uint32(distance) & (1<<n - 1), n
}

// cost is how many bits the block takes with codes of these sizes, beside its
// header and the bits that follow codes.
func (d *deflater) cost(lit, dist []uint8) (n int) {
	for i, f := range d.litFreq {
		n += int(f) * int(lit[i])
	}
	for i, f := range d.distFreq[:distances] {
		n += int(f) * int(dist[i])
	}
	return n
}

// bitWriter writes bits, the lowest first.
type bitWriter struct {
	out  []byte
	bits uint64
	n    uint8
}

func (w *bitWriter) put(bits uint32, n uint8) {
	w.bits |= uint64(bits) << w.n
	if w.n += n; w.n >= 32 {
		w.out = binary.LittleEndian.AppendUint32(w.out, uint32(w.bits))
		w.bits >>= 32
		w.n -= 32
	}
}

func (w *bitWriter) end() []byte {
	for ; w.n > 0; w.n -= min(w.n, 8) {
		w.out = append(w.out, byte(w.bits))
		w.bits >>= 8
	}
	return w.out
}
