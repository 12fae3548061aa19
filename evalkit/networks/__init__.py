"""What every pretrained network needs: weight files, classifiers, devices."""
