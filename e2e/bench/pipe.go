package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"
)

// pipe is the echo server itself.
type pipe struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	w   *bufio.Writer
	r   *bufio.Reader
}

func openPipe(command []string) (*pipe, error) {
	cmd := exec.Command(command[0], command[1:]...)
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	return &pipe{cmd: cmd, in: in, w: bufio.NewWriterSize(in, 64<<10), r: bufio.NewReaderSize(out, 64<<10)}, cmd.Start()
}

func (p *pipe) close() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

// load keeps that many calls under way.
func (p *pipe) load(callers int, length time.Duration) (sample, error) {
	took, sent := []time.Duration{}, map[uint64]time.Time{}
	var line []byte
	send := func(now time.Time) error {
		number++
		n := number
		sent[n] = now
		line = append(appendCall(line[:0], n), '\n')
		_, err := p.w.Write(line)
		return err
	}
	began := time.Now()
	end := began.Add(length)
	for range callers {
		if err := send(began); err != nil {
			return sample{}, err
		}
	}
	for len(sent) > 0 {
		if p.r.Buffered() == 0 {
			if err := p.w.Flush(); err != nil {
				return sample{}, err
			}
		}
		answer, err := p.r.ReadSlice('\n')
		if err != nil {
			return sample{}, err
		}
		_, rest, _ := bytes.Cut(answer, []byte(`"id":`))
		id, _, _ := bytes.Cut(rest, []byte(","))
		n, err := strconv.ParseUint(string(id), 10, 64)
		then, ok := sent[n]
		if err != nil || !ok {
			return sample{}, fmt.Errorf("a wrong answer: %s", answer)
		}
		delete(sent, n)
		now := time.Now()
		took = append(took, now.Sub(then))
		if now.Before(end) {
			if err := send(now); err != nil {
				return sample{}, err
			}
		}
	}
	return newSample(took, time.Since(began)), nil
}
