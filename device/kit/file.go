package kit

import (
	"errors"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// WriteFile replaces a file on the kernel's disk: see Disk.WriteFile.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Disk{}.WriteFile(path, data, perm)
}

// SyncDir makes a folder's entries durable on the kernel's disk: see Disk.SyncDir.
func SyncDir(dir string) error { return Disk{}.SyncDir(dir) }

// OpenRegular opens a file for reading. What is no file (a folder, a pipe that would have the reader wait for ever) is an error.
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: ErrNoFile}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// ErrNoFile: something else lies where a file ought to.
var ErrNoFile = errors.New("not a regular file; move it elsewhere")

// ReadRegular reads a file that OpenRegular opens.
func ReadRegular(path string) ([]byte, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
