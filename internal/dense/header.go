package dense

// header says the sizes of a block's codes: RFC 1951, section 3.2.7.
type header struct {
	lit, dist, written int
	// runs are the sizes, and what repeats them: code | what follows it<<8.
	runs  []uint16
	sizes [codeSizes]uint8
	// size is in bits.
	size int
}

// order is that in which the sizes of the sizes' own codes are written.
var order = [codeSizes]int{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// follow is how many bits follow the code.
func follow(code uint16) uint8 {
	switch code {
	case 16:
		return 2
	case 17:
		return 3
	case 18:
		return 7
	}
	return 0
}

func (d *deflater) header() *header {
	h := &header{lit: literals, dist: distances, written: codeSizes}
	for d.litSizes[h.lit-1] == 0 {
		h.lit--
	}
	for h.dist > 1 && d.distSizes[h.dist-1] == 0 {
		h.dist--
	}
	all := append(append(make([]uint8, 0, literals+distances), d.litSizes[:h.lit]...), d.distSizes[:h.dist]...)
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n] == all[0] {
			n++
		}
		h.run(uint16(all[0]), n)
		all = all[n:]
	}
	var freq [codeSizes]uint32
	for _, r := range h.runs {
		freq[r&0xff]++
	}
	d.sizes(freq[:], h.sizes[:], 7)
	for h.sizes[order[h.written-1]] == 0 {
		h.written--
	}
	h.size = 5 + 5 + 4 + 3*h.written
	for _, r := range h.runs {
		h.size += int(h.sizes[r&0xff]) + int(follow(r&0xff))
	}
	return h
}

// run adds n sizes that are the same.
func (h *header) run(size uint16, n int) {
	if size == 0 {
		for n >= 3 {
			if m := min(n, 138); m > 10 {
				h.runs = append(h.runs, 18|uint16(m-11)<<8)
				n -= m
			} else {
				h.runs = append(h.runs, 17|uint16(m-3)<<8)
				n -= m
			}
		}
	} else {
		h.runs = append(h.runs, size)
		for n--; n >= 3; {
			m := min(n, 6)
			h.runs = append(h.runs, 16|uint16(m-3)<<8)
			n -= m
		}
	}
	for range n {
		h.runs = append(h.runs, size)
	}
}

func (h *header) write(w *bitWriter) {
	w.put(uint32(h.lit-257), 5)
	w.put(uint32(h.dist-1), 5)
	w.put(uint32(h.written-4), 4)
	for _, code := range order[:h.written] {
		w.put(uint32(h.sizes[code]), 3)
	}
	var c [codeSizes]uint16
	codes(h.sizes[:], c[:])
	for _, r := range h.runs {
		code := r & 0xff
		w.put(uint32(c[code]), h.sizes[code])
		w.put(uint32(r>>8), follow(code))
	}
}
