package kit

import "io/fs"

// WriteFile replaces a file on the kernel's disk: see Disk.WriteFile.
func WriteFile(path string, data []byte, perm fs.FileMode) error {
	return Disk{}.WriteFile(path, data, perm)
}

// SyncDir makes a folder's entries durable on the kernel's disk: see Disk.SyncDir.
func SyncDir(dir string) error { return Disk{}.SyncDir(dir) }
