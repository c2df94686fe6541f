// Go: goroutines on one processor (GOMAXPROCS 1), channels, time.AfterFunc.
package main

import (
	"context"
	"fmt"
	"math/rand"
	"net"
	"net/http"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

var divide int64 = 1

func perOperation(start time.Time, n int64) float64 { return float64(time.Since(start).Nanoseconds()) / float64(n) }

func yields(n int64) float64 {
	each := 8000000 / divide / n
	if each < 1 {
		each = 1
	}
	var done sync.WaitGroup
	done.Add(int(n))
	for i := int64(0); i < n; i++ {
		go func() {
			for k := int64(0); k < each; k++ {
				runtime.Gosched()
			}
			done.Done()
		}()
	}
	runtime.Gosched()
	start := time.Now()
	done.Wait()
	return perOperation(start, each*n)
}

func spawns(burst int64) float64 {
	total, done := 1000000/divide, int64(0)
	start := time.Now()
	for ; done < total; done += burst {
		var group sync.WaitGroup
		group.Add(int(burst))
		for i := int64(0); i < burst; i++ {
			go group.Done()
		}
		group.Wait()
	}
	return perOperation(start, done)
}

func messages(int64) float64 {
	total := 2000000 / divide
	items, done := make(chan int64, 64), make(chan bool)
	start := time.Now()
	go func() {
		for range items {
		}
		done <- true
	}()
	for i := int64(0); i < total; i++ {
		items <- i
	}
	close(items)
	<-done
	return perOperation(start, total)
}

func events(int64) float64 {
	total := 1000000 / divide
	ping, pong := make(chan bool), make(chan bool)
	start := time.Now()
	go func() {
		for range ping {
			pong <- true
		}
	}()
	for i := int64(0); i < total; i++ {
		ping <- true
		<-pong
	}
	return perOperation(start, total)
}

func locks(int64) float64 {
	var lock sync.Mutex
	total, start := 8000000/divide, time.Now()
	for i := int64(0); i < total; i++ {
		lock.Lock()
		lock.Unlock()
	}
	return perOperation(start, total)
}

// A semaphore is a channel with room for its permits.
func permits(int64) float64 {
	semaphore := make(chan struct{}, 1)
	total, start := 8000000/divide, time.Now()
	for i := int64(0); i < total; i++ {
		semaphore <- struct{}{}
		<-semaphore
	}
	return perOperation(start, total)
}

// A future is a channel that is used once.
func futures(int64) float64 {
	total, pending := 1000000/divide, make(chan chan int64, 1)
	start := time.Now()
	go func() {
		for i := int64(0); i < total; i++ {
			(<-pending) <- i
		}
	}()
	for i := int64(0); i < total; i++ {
		future := make(chan int64, 1)
		pending <- future
		<-future
	}
	return perOperation(start, total)
}

func cancels(int64) float64 {
	total, start := 500000/divide, time.Now()
	for i := int64(0); i < total; i++ {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() {
			<-ctx.Done()
			done <- ctx.Err()
		}()
		runtime.Gosched()
		cancel()
		<-done
	}
	return perOperation(start, total)
}

func timeouts(int64) float64 {
	total, start := 1000000/divide, time.Now()
	for i := int64(0); i < total; i++ {
		_, cancel := context.WithTimeout(context.Background(), time.Second)
		cancel()
	}
	return perOperation(start, total)
}

func resident() int64 {
	text, _ := os.ReadFile("/proc/self/statm")
	pages, _ := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	return pages * int64(os.Getpagesize())
}

func parked(n int64) float64 {
	never := make(chan bool)
	before := resident()
	for i := int64(0); i < n; i++ {
		go func() { <-never }()
	}
	runtime.Gosched()
	return float64(resident()-before) / float64(n)
}

func sleeps(us int64) float64 {
	n := 1000000 / us / divide
	if n < 11 {
		n = 11
	}
	late := make([]float64, n)
	for i := range late {
		start := time.Now()
		time.Sleep(time.Duration(us) * time.Microsecond)
		late[i] = float64(time.Since(start).Nanoseconds())/1e3 - float64(us)
	}
	sort.Float64s(late)
	return late[n/2]
}

// ---- timers

var timers []*time.Timer

func fire() {}

func timerRows(what string, n int64) float64 {
	passes := 2000000 / divide / n
	if passes < 1 {
		passes = 1
	}
	order, delays := rand.Perm(int(n)), make([]time.Duration, n)
	timers = make([]*time.Timer, n)
	for i := range delays {
		delays[i] = time.Second + time.Duration(rand.Int63n(60e9))
	}
	var took time.Duration
	if what == "rearm" {
		for i := range timers {
			timers[i] = time.AfterFunc(30*time.Second, fire)
		}
		start := time.Now()
		for k := int64(0); k < passes; k++ {
			for _, i := range order {
				timers[i].Reset(30*time.Second + time.Duration(k)*time.Microsecond)
			}
		}
		return perOperation(start, passes*n)
	}
	for k := int64(0); k < passes; k++ {
		start := time.Now()
		for j, i := range order {
			timers[i] = time.AfterFunc(delays[j], fire)
		}
		if what == "start" {
			took += time.Since(start)
		}
		start = time.Now()
		for j := range order {
			timers[order[len(order)-1-j]].Stop()
		}
		if what == "cancel" {
			took += time.Since(start)
		}
	}
	return float64(took.Nanoseconds()) / float64(passes*n)
}

// ---- echo

func echo(c net.Conn, bytes int64) {
	buf := make([]byte, bytes)
	for {
		n, err := c.Read(buf)
		if err != nil {
			break
		}
		if _, err = c.Write(buf[:n]); err != nil {
			break
		}
	}
	c.Close()
}

func serve(bytes int64) {
	var limit syscall.Rlimit
	syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit)
	limit.Cur = limit.Max
	syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("port %d\n", l.Addr().(*net.TCPAddr).Port)
	for {
		if c, err := l.Accept(); err == nil {
			go echo(c, bytes)
		}
	}
}

// ---- http

func serveHTTP() {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Printf("port %d\n", l.Addr().(*net.TCPAddr).Port)
	body := []byte("Hello, World!")
	panic(http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Write(body)
	})))
}

// What falls due is called meanwhile, on whatever thread is free: there is no moment from which on only that is done.
const noExpiry = "its timers cannot be held back until they are all due"

func measure(name string) float64 {
	parts := strings.Split(name, "_")
	n, _ := strconv.ParseInt(parts[len(parts)-1], 10, 64)
	switch {
	case parts[0] == "yield":
		return yields(n)
	case name == "spawn_join":
		return spawns(1)
	case name == "spawn_burst":
		return spawns(10000)
	case name == "mutex":
		return locks(0)
	case name == "semaphore":
		return permits(0)
	case name == "future":
		return futures(0)
	case name == "cancel_join":
		return cancels(0)
	case name == "timeout_scope":
		return timeouts(0)
	case name == "queue_message":
		return messages(0)
	case name == "event_wake":
		return events(0)
	case parts[0] == "rss":
		return parked(n)
	case parts[0] == "sleep":
		return sleeps(map[string]int64{"100us": 100, "1ms": 1000, "10ms": 10000}[parts[1]])
	case parts[0] == "timer":
		return timerRows(parts[1], n)
	}
	fmt.Fprintln(os.Stderr, "no such row")
	os.Exit(1)
	return 0
}

func main() {
	runtime.GOMAXPROCS(1)
	args := os.Args[1:]
	if len(args) == 2 && args[0] == "--serve" {
		bytes, _ := strconv.ParseInt(args[1], 10, 64)
		serve(bytes)
	}
	if len(args) == 2 && args[0] == "--serve-http" {
		serveHTTP()
	}
	if len(args) > 2 && args[0] == "--divide" {
		divide, _ = strconv.ParseInt(args[1], 10, 64)
		args = args[2:]
	}
	if strings.HasPrefix(args[0], "timer_expire") {
		fmt.Printf("%s - %s\n", args[0], noExpiry)
		return
	}
	fmt.Printf("%s %g\n", args[0], measure(args[0]))
}
