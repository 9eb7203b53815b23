package bus

import (
	"errors"
	"io/fs"
	"os"

	"periph.io/x/conn/v3/i2c"
	"periph.io/x/host/v3/sysfs"
)

// kernel is a bus of this machine.
type kernel struct {
	*sysfs.I2C
	port string
}

// openKernel goes straight to the one bus: i2creg would first start every GPIO, SPI, LED and thermal driver of the
// machine, and would not know a bus that was plugged in later.
func openKernel(port string) (i2c.BusCloser, error) {
	n, err := number(port)
	if err != nil {
		return nil, err
	}
	b, err := sysfs.NewI2C(n)
	if err != nil {
		return nil, err
	}
	return kernel{b, port}, nil
}

// Gone implements mortal. While we have the adapter open no other gets its number.
func (k kernel) Gone() bool {
	_, err := os.Stat(k.port)
	return errors.Is(err, fs.ErrNotExist)
}
