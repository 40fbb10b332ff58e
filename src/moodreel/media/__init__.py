"""Files to frames with exact times: GIF, APNG, WebP, video, folders of frames, stills, arrays."""
